"""Errors as HTTP answers: one exception tree, one table of statuses, one problem+json writer (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from runtime.errors import EmpirError
from runtime.expectation import expectation


class MalformedRequest(EmpirError):
    """A request that is not what it says it is."""

    code = "malformed"


class BodyTooLarge(EmpirError):
    """A body over the limit."""

    code = "body_too_large"


class EncodedBody(EmpirError):
    """A body that is compressed."""

    code = "encoded_body"


class BodyTooSlow(EmpirError):
    """A body that did not arrive in time."""

    code = "body_too_slow"


class QueueFull(EmpirError):
    """No place to wait in."""

    code = "queue_full"


class DeadlineExceeded(EmpirError):
    """An answer that was not ready in time; the work is dropped."""

    code = "deadline"


class Unavailable(EmpirError):
    """Something that is not ready, or no longer."""

    code = "unavailable"


class NoReport(EmpirError):
    """A bundle without a report."""

    code = "no_report"


class UnknownModel(EmpirError):
    """No model, or no version of it, of this name."""

    code = "unknown_model"


class KeyMissing(EmpirError):
    """A request that needs the admin key, and has none."""

    code = "key_missing"


class KeyRefused(EmpirError):
    """An admin key that is not the server's, or a server that has none."""

    code = "key_refused"


class BundleRefused(EmpirError):
    """A bundle that was to be loaded and is not what it should be."""

    code = "bundle_refused"


class Conflict(EmpirError):
    """Something that cannot be done as things stand."""

    code = "conflict"


class CallerLeft(Exception):
    """Nobody waits for the answer any more; so nobody is told this, and it has no code."""


STATUS = {
    "malformed": 400,
    "key_missing": 401,
    "key_refused": 403,
    "no_report": 404,
    "unknown_bundle": 404,
    "unknown_model": 404,
    "body_too_slow": 408,
    "conflict": 409,
    "body_too_large": 413,
    "image_too_large": 413,
    "encoded_body": 415,
    "not_an_image": 415,
    "bundle_refused": 422,
    "invalid_value": 422,
    "queue_full": 429,
    "no_quorum": 503,
    "unavailable": 503,
    "deadline": 504,
}
CLIENT_LEFT = 499
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
NOWHERE = {"Not Found": "path: there is nothing here; /docs lists what there is"}
"""What the router says of an unknown path, and what we say instead."""
REFUSALS = frozenset(STATUS) - {"no_quorum", "unavailable"}
"""Codes of requests that were turned down; a closed set, so a metric's label."""
HEADERS = {
    "encoded_body": {"Accept-Encoding": "identity"},
    "queue_full": {"Retry-After": "1"},
    "unavailable": {"Retry-After": "1"},
    "key_missing": {"WWW-Authenticate": "Bearer"},
}


def problem(
    status: int, code: str, detail: str, request_id: str, headers: dict[str, str] | None = None, path: str = ""
) -> Response:
    """An `application/problem+json` answer; where `path` is the Open Inference Protocol's, with its `error` too."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }
    if path == "/v2" or path.startswith("/v2/"):
        body["error"] = detail
    return Response(orjson.dumps(body), status, headers, "application/problem+json")


def code_of(error: Exception) -> str:
    """The stable word for any exception."""
    if isinstance(error, EmpirError):
        return error.code
    if isinstance(error, RequestValidationError):
        return "invalid_value"
    if isinstance(error, HTTPException):
        return HTTP_CODES.get(error.status_code, "malformed")
    return "internal"


def answer_for(error: Exception, request_id: str, path: str = "") -> Response:
    """The answer for any exception on `path`; what is not ours or HTTP's is a 500 that gives nothing away."""
    code, headers = code_of(error), None
    if isinstance(error, EmpirError):
        status, detail, headers = STATUS.get(code, 500), str(error), HEADERS.get(code)
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        # Not the value itself: it may be NaN, which is no JSON, or very long.
        status, detail = 422, f"{first['loc'][-1]}: {expectation(first)}"
    elif isinstance(error, HTTPException):
        status, detail, headers = error.status_code, NOWHERE.get(error.detail, error.detail), dict(error.headers or {})
    else:
        status, detail = 500, "The server failed; its log has the cause under this request_id."
    return problem(status, code, detail, request_id, headers, path)


async def leave(request: Request, error: Exception) -> Response:
    """What the application says when its client has gone; nobody hears it, but metrics and log have its status."""
    return Response(status_code=CLIENT_LEFT)


async def handle(request: Request, error: Exception) -> Response:
    """The one exception handler."""
    request.state.code = code_of(error)
    return answer_for(error, request.state.request_id, request.scope["path"])
