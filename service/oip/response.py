"""An inference response, and how it is written to a REST body."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.oip.tensors import Output
from service.wire import Headers

JSON = ((b"content-type", b"application/json"),)


@dataclass(frozen=True, slots=True)
class InferResponse:
    """What a client is answered."""

    model_name: str
    model_version: str
    id: str
    degraded: bool
    outputs: Sequence[tuple[Output, bool]]
    """Each with whether it goes as bytes behind the JSON."""


def write_response(response: InferResponse) -> tuple[bytes, Headers]:
    """The body and its headers: JSON, followed by the outputs that go as bytes."""
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        document["id"] = response.id
    tail = [output.raw() if binary else b"" for output, binary in response.outputs]
    document["parameters"] = {"degraded": response.degraded}
    document["outputs"] = [
        _described(output, len(raw) if binary else None)
        for (output, binary), raw in zip(response.outputs, tail, strict=True)
    ]
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(binary for _, binary in response.outputs):
        return head, JSON
    length = (b"inference-header-content-length", b"%d" % len(head))
    return b"".join((head, *tail)), ((b"content-type", b"application/octet-stream"), length)


def _described(output: Output, size: int | None) -> dict[str, Any]:
    described: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
    if size is not None:
        described["parameters"] = {"binary_data_size": size}
    elif isinstance(output.data, list):
        described["data"] = [element.decode() for element in output.data]
    else:
        described["data"] = np.ascontiguousarray(output.data).reshape(-1)
    return described
