"""The edge of the application: request ids, limits on bodies, one log line and one measurement for each request."""

import asyncio
import re
import time
import uuid
from typing import Any

import structlog
from prometheus_client import Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import REFUSALS, BodyTooLarge, BodyTooSlow, MalformedRequest, answer_for, code_of
from service.metrics import Metrics
from service.settings import Settings

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
CLIENT_LEFT = 499


class Edge:
    """Pure ASGI: BaseHTTPMiddleware would hide that a client has left."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._app, self._settings, self._metrics, self._log = app, settings, metrics, log
        self._durations: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._settings)
        try:
            exchange.check_head()
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = exchange.status or CLIENT_LEFT
        except Exception as error:
            begun = exchange.status != 0
            if not begun:
                await exchange.answer(error)
            if begun or exchange.status >= 500:
                self._log.error("failed", request_id=exchange.request_id, exc_info=error)
        finally:
            self._record(scope, exchange, time.perf_counter() - start)

    def _record(self, scope: Scope, exchange: "_Exchange", seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = exchange.status or CLIENT_LEFT
        series = (route, method, status)  # a closed set; looking it up here spares the labels' checks
        if series not in self._durations:
            self._durations[series] = self._metrics.http_request_duration_seconds.labels(*series)
        self._durations[series].observe(seconds)
        if (code := exchange.code) is not None:
            exchange.log["code"] = code
            if code in REFUSALS:
                self._metrics.requests_rejected.labels(code).inc()
        self._log.info(
            "request",
            request_id=exchange.request_id,
            method=method,
            path=scope["path"],
            status=status,
            ms=round(1000 * seconds, 2),
            **exchange.log,
        )


class _Exchange:
    """One request and its answer on their way through the edge."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self._scope, self._receive, self._send, self._settings = scope, receive, send, settings
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._received, self._complete = 0, False
        self._body_deadline: float | None = None
        self._close = False
        self.status = 0
        self.log: dict[str, Any] = {}
        given = next((value for name, value in self._headers if name == b"x-request-id"), b"")
        self.request_id = given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(request_id=self.request_id, log=self.log)

    @property
    def code(self) -> str | None:
        """The stable word for what went wrong, if anything did."""
        code: str | None = self._scope["state"].get("code")
        return code

    def check_head(self) -> None:
        """Raise MalformedRequest or BodyTooLarge for what the headers tell already; the connection is then closed."""
        hosts = sum(name == b"host" for name, _ in self._headers)
        if hosts != 1:
            self._close = True
            raise MalformedRequest(f"Host: expected exactly one such header, got {hosts}")
        length = next((value for name, value in self._headers if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > self._settings.max_body_bytes:
            self._close = True
            raise self._too_large()

    async def receive(self) -> Message:
        """The next part of the body. Raises BodyTooLarge or BodyTooSlow; the connection is then closed."""
        loop = asyncio.get_running_loop()
        if self.status or self._complete:  # only the client's leaving is still of interest
            return await self._receive()
        if self._body_deadline is None:
            self._body_deadline = loop.time() + self._settings.body_timeout_s
        try:
            async with asyncio.timeout_at(self._body_deadline):
                message = await self._receive()
        except TimeoutError as error:
            self._close = True
            limit = self._settings.body_timeout_s
            raise BodyTooSlow(f"body: expected all of it within {limit:g} s, got {self._received:,} bytes") from error
        self._received += len(message.get("body", b""))
        if self._received > self._settings.max_body_bytes:
            self._close = True
            raise self._too_large()
        self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (b"x-request-id", self.request_id.encode())]
            if self._close:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def answer(self, error: Exception) -> None:
        """Answer with a problem, outside the application."""
        self._scope["state"]["code"] = code_of(error)
        await answer_for(error, self.request_id)(self._scope, self._receive, self.send)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"body: expected at most {self._settings.max_body_bytes:,} bytes, got more")
