"""The wire under a hot route: a request's body when all of it is there, its answer in one write, its client's leaving.

ASGI gives a body and takes an answer in several steps, each with its own wait. For a digit these cost as much as a
member does, so between our protocol and our edge there is this way past them.
"""

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

WIRE = "empir.wire"
"""The extension of ASGI's scope under which a `Wire` lies; only under our own protocol is there one."""

CLOSE = (b"connection", b"close")
Headers = Sequence[tuple[bytes, bytes]]


class Wire:
    """One request of a connection, as uvicorn keeps it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
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
        return body

    def answer(self, headers: Headers, body: bytes) -> bool:
        """Answer 200 with a whole body, in one write; False, and nothing done, where that has to wait.

        Names and values of `headers` are our own: they are written as they are.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        if CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers = (*headers, CLOSE)
        lines = [STATUS_LINE[200]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        cycle.transport.write(b"".join((*lines, b"\r\n", body)))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
