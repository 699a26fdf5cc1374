"""Errors as HTTP answers: one exception tree, one table of statuses, one problem+json writer (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from runtime.errors import EmpirError


class MalformedRequest(EmpirError):
    """A request that is not what it says it is."""

    code = "malformed"


class BodyTooLarge(EmpirError):
    """A body over the limit."""

    code = "body_too_large"


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


STATUS = {
    "malformed": 400,
    "no_report": 404,
    "unknown_bundle": 404,
    "body_too_slow": 408,
    "body_too_large": 413,
    "image_too_large": 413,
    "not_an_image": 415,
    "invalid_value": 422,
    "queue_full": 429,
    "no_quorum": 503,
    "unavailable": 503,
    "deadline": 504,
}
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
REFUSALS = frozenset(STATUS) - {"no_quorum", "unavailable"}
"""Codes of requests that were turned down; a closed set, so a metric's label."""
RETRY_AFTER_S = {"queue_full": "1", "unavailable": "1"}


def problem(status: int, code: str, detail: str, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """An `application/problem+json` answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }
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


def answer_for(error: Exception, request_id: str) -> Response:
    """The answer for any exception; what is not ours or HTTP's is a 500 that gives nothing away."""
    code = code_of(error)
    if isinstance(error, EmpirError):
        retry = RETRY_AFTER_S.get(code)
        return problem(STATUS.get(code, 500), code, str(error), request_id, {"Retry-After": retry} if retry else None)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        # Not the value itself: it may be NaN, which is no JSON, or very long.
        return problem(422, code, f"{first['loc'][-1]}: {first['msg']}", request_id)
    if isinstance(error, HTTPException):
        return problem(error.status_code, code, str(error.detail), request_id, dict(error.headers or {}))
    return problem(500, code, "The server failed; its log has the cause under this request_id.", request_id)


async def handle(request: Request, error: Exception) -> Response:
    """The one exception handler."""
    request.state.code = code_of(error)
    return answer_for(error, request.state.request_id)
