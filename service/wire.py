"""The wire under a hot route: a request's body when all of it is there, its answer in one write, its client's leaving.

ASGI gives a body and takes an answer in several steps, each with its own wait. For a digit these cost as much as a
member does, so between our protocol and our edge there is this way past them.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

WIRE = "empir.wire"
"""The extension of ASGI's scope under which a `Wire` lies; only under our own protocol is there one."""

KNOWN = ((0, 34), (0, 54))
"""The first and the last minor version of uvicorn whose requests are kept as a `Wire` takes them to be."""

CLOSE = (b"connection", b"close")
STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}
Headers = Sequence[tuple[bytes, bytes]]


def fits(version: str) -> bool:
    """Whether a `Wire` fits this version of uvicorn; under any other, requests go the plain way of ASGI."""
    minor = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return KNOWN[0] <= minor <= KNOWN[1]


class Wire:
    """One request of a connection, as uvicorn keeps it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: "RequestResponseCycle") -> None:
        self._cycle = cycle

    def left(self) -> bool:
        """Whether the client has closed the connection."""
        return self._cycle.transport.is_closing()

    def whole_body(self) -> bytes | None:
        """The body, if all of it has come and nothing of it was taken; else None, and `receive` gives it in parts."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        cycle.flow.resume_reading()  # paused above 64 KB; then nobody would see the client leave
        return body

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Answer with a whole body, in one write; False, and nothing done, where that has to wait.

        Names and values of `headers` are our own: they are written as they are.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        if CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers = (*headers, CLOSE)
        lines = [STATUS_LINES[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        cycle.transport.write(b"".join((*lines, b"\r\n", body)))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
