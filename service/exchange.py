"""An exchange: one HTTP request and its answer, with the limits on bodies; what hot routes work with."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from service.body_budget import BodyBudget
from service.errors import BodyTooLarge, BodyTooSlow, MalformedRequest, QueueFull, answer_for, code_of
from service.settings import Settings
from service.trace import Span
from service.wire import CLOSE, WIRE, Headers, Wire

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Exchange:
    """One request and its answer on their way through the edge."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings, budget: BodyBudget) -> None:
        self.scope, self._receive, self._send, self._settings = scope, receive, send, settings
        self._budget, self._held = budget, 0
        self._headers = dict(reversed(scope["headers"]))  # of each name the first
        self._wire: Wire | None = scope.get("extensions", {}).get(WIRE)
        self._received, self._complete = 0, False
        self._body_deadline: float | None = None
        self._close = False
        self.status = 0
        self.route: str | None = None
        """The path's pattern, for metrics, where a hot route has answered."""
        self.log: dict[str, Any] = {}
        self.after: list[Callable[[], None]] = []
        """What is to be counted and logged once the answer is given."""
        self.traceparent = b""
        """What the answer names as its span; empty without a trace."""
        self.parts: list[Span] | None = None
        """Where handlers put what took time; None where nobody traces."""
        self.request_id = request_id_of(self._headers.get(b"x-request-id", b""))
        scope.setdefault("state", {}).update(request_id=self.request_id, log=self.log, exchange=self)

    @classmethod
    def of(cls, request: Request) -> "Exchange":
        """The exchange that a request of Starlette's belongs to."""
        exchange: Exchange = request.state.exchange
        return exchange

    @property
    def code(self) -> str | None:
        """The stable word for what went wrong, if anything did."""
        code: str | None = self.scope["state"].get("code")
        return code

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of one that is given twice the last value."""
        text: bytes = self.scope["query_string"]
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True)) if text else {}

    @property
    def left(self) -> Callable[[], bool]:
        """Tells whether the client has left, where the server knows; it costs nothing to ask."""
        return _never if self._wire is None else self._wire.left

    def header(self, name: bytes) -> str:
        """A header's first value, by its name in lower case; empty where there is none."""
        value: bytes = self._headers.get(name, b"")
        return value.decode("latin-1")

    def check_head(self) -> None:
        """Raise MalformedRequest or BodyTooLarge for what the headers tell already; the connection is then closed."""
        hosts = [name for name, _ in self.scope["headers"]].count(b"host")
        if hosts != 1:
            self._close = True
            raise MalformedRequest(f"Host: expected exactly one such header, got {hosts}")
        length: bytes = self._headers.get(b"content-length") or b"0"
        if not length.isdigit() or int(length) > self._settings.max_body_bytes:
            self._close = True
            raise self._too_large()

    async def body(self) -> bytes:
        """The whole body. Raises BodyTooLarge, BodyTooSlow, QueueFull, or ClientDisconnect."""
        if self._wire is not None and self._received == 0 and (whole := self._wire.whole_body()) is not None:
            self._take(len(whole), complete=True)
            return whole
        return b"".join([part async for part in self.stream()])

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """What is left of the body, part by part. Raises as `body` does."""
        while not self._complete:
            message = await self._part()
            if part := message.get("body", b""):
                yield part

    async def receive(self) -> Message:
        """The next part of the body. Raises BodyTooLarge, BodyTooSlow or QueueFull; the connection is then closed."""
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
        self._take(len(message.get("body", b"")), complete=not message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application's, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *self._own_headers()]}
        await self._send(message)

    async def respond(self, body: bytes, headers: Headers) -> None:
        """Answer 200 with a whole body; `headers` say what it is."""
        await self._answer(200, [*headers, (b"content-length", b"%d" % len(body))], body)

    async def refuse(self, error: Exception) -> None:
        """Answer with a problem, outside the application."""
        self.scope["state"]["code"] = code_of(error)
        answer = answer_for(error, self.request_id, self.scope["path"])
        if self._complete:  # under load there are many of these, and they must not cost what a prediction does
            await self._answer(answer.status_code, answer.raw_headers, bytes(answer.body))
        else:
            await answer(self.scope, self._receive, self.send)

    async def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        whole = [*headers, *self._own_headers()]
        if self._wire is None or not self._wire.answer(status, whole, body):
            await self._send({"type": "http.response.start", "status": status, "headers": whole})
            await self._send({"type": "http.response.body", "body": body})

    async def _part(self) -> Message:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message

    def _take(self, size: int, *, complete: bool) -> None:
        self._received, self._complete = self._received + size, complete
        if self._received > self._settings.max_body_bytes:
            self._close = True
            raise self._too_large()
        try:
            self._budget.take(size)
        except QueueFull:
            self._close = not complete
            raise
        self._held += size

    def end(self) -> None:
        """Once all is done: the body is held no longer."""
        self._budget.give_back(self._held)
        self._held = 0

    def _own_headers(self) -> Headers:
        own = [(b"x-request-id", self.request_id.encode())]
        if self.traceparent:
            own.append((b"traceparent", self.traceparent))
        if self._close:
            own.append(CLOSE)
        return own

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"body: expected at most {self._settings.max_body_bytes:,} bytes, got more")


def request_id_of(given: bytes) -> str:
    """The request's id: the caller's, where it is fit for a header and a log, or else a random one."""
    return given.decode() if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def _never() -> bool:
    return False
