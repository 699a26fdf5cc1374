"""Inference requests, as documents and as bodies, and the problems that they are answered with."""

import struct
from typing import Any

import httpx
import orjson

from tests.live import Live
from tests.toys import Array

INFER = "/v2/models/toy/infer"
Document = dict[str, Any]


def document(images: Array, **fields: Any) -> Document:
    """A request for images as JSON; `fields` are the input's, instead of the right ones."""
    entry = {"name": "image", "shape": list(images.shape), "datatype": "FP32", "data": images.reshape(-1).tolist()}
    return {"inputs": [{**entry, **fields}]}


def binary(head: Document, *tensors: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON followed by tensors, and its headers."""
    data = orjson.dumps(head)
    return b"".join((data, *tensors)), {"Inference-Header-Content-Length": str(len(data))}


def fp32(images: Array, **fields: Any) -> tuple[bytes, dict[str, str]]:
    """A binary request for images; `fields` are the request's."""
    raw = images.astype("<f4").tobytes()
    entry = {"name": "image", "shape": list(images.shape), "datatype": "FP32"}
    return binary({"inputs": [{**entry, "parameters": {"binary_data_size": len(raw)}}], **fields}, raw)


def elements(*data: bytes) -> bytes:
    """Byte strings as a binary BYTES tensor."""
    return b"".join(struct.pack("<I", len(each)) + each for each in data)


def ask(server: Live, request: Document, path: str = INFER) -> httpx.Response:
    """Post a document."""
    return server.http.post(path, content=orjson.dumps(request), headers={"Content-Type": "application/json"})


def protocol_problem(response: httpx.Response) -> dict[str, Any]:
    """The problem in an answer under /v2, whose form is checked: every one has the protocol's `error`."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() == {"type", "title", "status", "code", "detail", "request_id", "error"}
    assert problem["error"] == problem["detail"]
    assert problem["status"] == response.status_code
    return problem
