"""One keep-alive connection: bytes that were prepared beforehand go out, and what became of them comes back."""

import errno
import socket
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Any

import httptools

Address = tuple[socket.AddressFamily, Any]
"""A family, and an address of it as sockets take it."""
Done = Callable[["Connection", str], None]
"""Called with the connection and the outcome: an HTTP status, or `refused`, `reset`, `garbled`, `timeout`."""

FINAL = 200

_buffer = bytearray(1 << 18)
"""Where every connection reads into: answers are parsed, not kept."""
_view = memoryview(_buffer)


class Connection:
    """Sends one request at a time, over a socket that it opens when it needs one. Never blocks.

    A request that finds the connection closed by the server, as one may that was idle, is sent once more; `resent`
    says so of the last one.
    """

    __slots__ = (
        *("_address", "_again", "_done", "_error", "_heard", "_keep", "_parser", "_request", "_rest", "_selector"),
        *("_socket", "_status", "busy", "due", "kind", "opening", "resent", "sent"),
    )

    def __init__(self, address: Address, selector: BaseSelector, done: Done) -> None:
        self._address = address
        self._selector = selector
        self._done = done
        self._socket: socket.socket | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._request = b""
        self._rest = memoryview(b"")
        self._status = 0
        self._heard = self._again = self._keep = self.resent = False
        self._error = 0
        self.busy = self.opening = False
        self.due = self.sent = 0.0
        self.kind = 0

    def send(self, request: bytes) -> None:
        """Send a whole HTTP request; `done` is called once, later or at once."""
        self.busy, self._heard, self.resent, self._request = True, False, False, request
        if self._socket is None:
            self._again = False
            self.connect()
        else:
            self._again = True
            self._write(self._socket, memoryview(request))

    def connect(self) -> None:
        """Begin to open the socket; a request that waits is written when it is open."""
        family, where = self._address
        self._parser = httptools.HttpResponseParser(self)
        self._socket = opening = socket.socket(family, socket.SOCK_STREAM)
        opening.setblocking(False)
        opening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._error = opening.connect_ex(where)
        self.opening = True
        self._rest = memoryview(self._request if self.busy else b"")
        self._selector.register(opening, EVENT_READ | EVENT_WRITE, self)

    def ready(self, events: int) -> None:
        """The selector's word that the socket can be written or read."""
        meant = self._socket
        if events & EVENT_WRITE and meant is not None:
            self._writable(meant)
        if events & EVENT_READ and meant is not None and self._socket is meant:  # not one that was opened meanwhile
            self._readable(meant)

    def give_up(self, outcome: str) -> None:
        """Close the socket, and end what was under way."""
        self.close()
        if self.busy:
            self._finish(outcome)

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket, self.opening = None, False

    def on_message_complete(self) -> None:
        """The parser's word that an answer is whole; informational ones (1xx) are none."""
        status: int = self._parser.get_status_code()
        if status >= FINAL:
            self._status, self._keep = status, self._parser.should_keep_alive()

    def _finish(self, outcome: str) -> None:
        self.busy = False
        self._done(self, outcome)

    def _writable(self, to: socket.socket) -> None:
        self.opening, error = False, self._error
        self._error = 0
        if error not in (0, errno.EINPROGRESS) or to.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.give_up("refused")
        self._selector.modify(to, EVENT_READ, self)
        if self._rest:
            self._write(to, self._rest)
        return None

    def _write(self, to: socket.socket, data: memoryview) -> None:
        try:
            written = to.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            return self._lost()
        self._rest = data[written:]
        if self._rest:
            self._selector.modify(to, EVENT_READ | EVENT_WRITE, self)
        return None

    def _readable(self, source: socket.socket) -> None:
        try:
            count = source.recv_into(_buffer)
        except BlockingIOError:
            return None
        except OSError:
            count = 0
        if count == 0:
            return self._lost()
        self._heard = True
        try:
            self._parser.feed_data(_view[:count])
        except httptools.HttpParserError:
            return self.give_up("garbled")
        if self._status:
            self._answered()
        return None

    def _answered(self) -> None:
        status, self._status = self._status, 0
        if self._rest or not self.busy or not self._keep:
            self.close()
        if self.busy:
            self._finish(str(status))

    def _lost(self) -> None:
        """The other side is gone: of no matter to an idle connection, and to a request that it has not begun to answer
        on a connection that was open before.
        """
        self.close()
        if self.busy and self._again and not self._heard:
            self._again, self.resent = False, True
            self.connect()
        elif self.busy:
            self._finish("reset")
