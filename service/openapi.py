"""What OpenAPI cannot read from the handlers' signatures: bodies that are images, and examples that work when tried."""

from collections.abc import Callable
from inspect import getdoc
from typing import Any

from service import predict
from service.oip import hot

SEVEN = (
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAAwUlEQVR42mNgGDaAEUKFpD77sfTFHeyS9xQYGBg+X4UKPuk6w8DA"
    "wMDAAuGm6l/TMnSweCzLwPDntSTDozPIOhkYGBgYBA3PmDIw/Lh1XShnGi5nBP+9KIRLTuzl/2AokwlDMlv0/U1cGq1//rPD6fHW"
    "f7tZcclxnv1hhVNj3b9tOOW8f3+wxCUnfPffMlxyzKf/3VbGJan2758vLjn5B/+KGXF78Z8JLjnbT+iSSGFrw8Nw9wuKJAsy56Lz"
    "O+ITGABpETyQcCy90wAAAABJRU5ErkJggg=="
)
"""A real handwritten 7 from MNIST's test set, PNG in base64."""

_ENCODED = {"type": "string", "format": "binary"}

IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "description": "An encoded picture in base64."}},
                },
                "example": {"image": SEVEN},
            },
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _ENCODED}}
            },
            "image/png": {"schema": _ENCODED},
            "image/jpeg": {"schema": _ENCODED},
        },
    }
}


def _query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", **schema}}


PREDICT: dict[str, Any] = {
    **IMAGE_BODY,
    "parameters": [
        _query(
            "mode", "`full` asks every member; `quorum` stops when the verdict is decided.", enum=["full", "quorum"]
        ),
        _query("bundle", "Name of the bundle; the default one if left out."),
    ],
}

_MEMBER = {
    "name": "fp32",
    "precision": {"weights": 32, "activations": 32},
    "status": "ok",
    "label": "7",
    "class_index": 7,
    "confidence": 0.999,
    "latency_ms": 0.11,
}
_ANSWER = {
    "label": "7",
    "class_index": 7,
    "confidence": 0.998,
    "agreement": 1.0,
    "suspicious": False,  # FastAPI leaves a null out
    "degraded": False,
    "mode": "full",
    "votes": {"7": 3},
    "members": [_MEMBER],
    "latency_ms": {"decode": 0.06, "queue": 0.01, "inference": 0.15, "vote": 0.01, "total": 0.24},
    "bundle": {"name": "mnist", "version": "0123456789ab"},
    "request_id": "6f1c9f6a0d1b4d0c8a5d2f3e4b5a6978",
}

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/problem+json": {}}}
    for status, description in (
        (400, "Malformed: no image, several files, or not what the Content-Type says."),
        (404, "No bundle of this name."),
        (413, "A body or a picture over the limit."),
        (415, "Not a picture of a format that is read."),
        (422, "A parameter out of range or not in its list."),
        (429, "Too many are waiting; Retry-After says when to come back."),
        (503, "No quorum: not enough members have a vote for a verdict."),
        (504, "No answer in time."),
    )
}
REPORT_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "No bundle of this name, or it has no report.", "content": {"application/problem+json": {}}}
}
PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The verdict, and each member's vote.", "content": {"application/json": {"example": _ANSWER}}},
    **PROBLEMS,
}


def complete(generate: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """FastAPI's generator of the document, and with it the routes that do not go through FastAPI, first."""

    def generated() -> dict[str, Any]:
        document = generate()
        hot_paths = {predict.PATH: {"post": _PREDICT_OPERATION}, hot.PATH: {"post": hot.OPERATION}}
        document["paths"] = {**hot_paths, **document["paths"]}
        _leave_out_answers_never_given(document)
        return document

    return generated


def _leave_out_answers_never_given(document: dict[str, Any]) -> None:
    """FastAPI describes its own 422 for every parameter; this server answers problems, which the operations list."""
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        of_framework = operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
        if of_framework.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
            del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(name, None)


_PREDICT_OPERATION: dict[str, Any] = {
    "tags": ["predict"],
    "summary": "Predict",
    "description": getdoc(predict.predict),
    "operationId": "predict",
    **PREDICT,
    "responses": {str(status): response for status, response in PREDICT_RESPONSES.items()},
}
