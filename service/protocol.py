"""Limits on what comes before a request's body: size and number of headers, and the time they may take."""

import asyncio
from typing import Any, ClassVar

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import problem
from service.wire import WIRE, Wire, fits

MOST_HEADERS = 100
MOST_HEADER_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, which by itself waits for ever and accepts headers of any size."""

    header_timeout_s: ClassVar[float] = 10.0
    wired: ClassVar[bool] = fits(uvicorn.__version__)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._guard: asyncio.TimerHandle | None = None
        self._refusal = ""
        self._in_headers, self._begun, self._unread = True, True, 0
        self._start_guard()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_guard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._unread += len(data)
        super().data_received(data)
        if self._in_headers and self._unread > MOST_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"headers: expected at most {MOST_HEADER_BYTES} bytes, got more")
        self._bound_waiting()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_guard()
        self._begun = True

    def on_headers_complete(self) -> None:
        self._in_headers = self._begun = False
        self._stop_guard()
        size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        if len(self.headers) > MOST_HEADERS or size > MOST_HEADER_BYTES:
            self._refusal = f"headers: expected at most {MOST_HEADERS} and {MOST_HEADER_BYTES} bytes, got more"
            # uvicorn turns a parser's error into send_400_response and stops reading.
            raise httptools.HttpParserError(self._refusal)
        super().on_headers_complete()
        if self.wired:
            self.scope["extensions"] = {WIRE: Wire(self.cycle)}  # type: ignore[dict-item]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers, self._unread = True, 0  # whatever comes next belongs to the next request's headers

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP request, or too much of one, as every other error is, and close."""
        path = getattr(self, "url", b"").decode("latin-1")  # none yet: not even a request line came
        body = bytes(problem(400, "malformed", self._refusal or msg, "none", path=path).body)
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}"
        self.transport.write(head.encode() + b"\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()

    def _bound_waiting(self) -> None:
        """A limit on the time for headers of which a part has come; most come whole, and need none.

        Any data ends uvicorn's keep-alive timer, also data that begins no request: line ends, or the rest of a body
        whose request is answered already. Without a timer such a connection would stay for ever.
        """
        waiting = self._begun or self.cycle is None or self.cycle.response_complete
        if waiting and self._guard is None and not self.transport.is_closing():
            self._start_guard()

    def _start_guard(self) -> None:
        self._guard = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _stop_guard(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def guarded(header_timeout_s: float) -> type[Any]:
    """The protocol class with this time limit; uvicorn takes a class, not an instance."""
    return type("GuardedProtocol", (GuardedProtocol,), {"header_timeout_s": header_timeout_s})
