"""The acceptor: connections that wait are taken all at once.

uvloop takes one in each turn of the event loop. While the server is overloaded a turn takes 10 ms, and the last of a
few hundred clients that connect together would wait for seconds before anybody reads its request, were it only to
refuse it.
"""

import asyncio
import socket
from collections.abc import Callable


class Acceptor:
    """Beside a server that listens on the same socket, whichever of the two is there first."""

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener, self._protocol = listener.dup(), protocol
        self._listener.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[object]] = set()
        self._loop.add_reader(self._listener.fileno(), self._take_all)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _take_all(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # none is left, or no file is left for it: the server, which logs, will meet that too
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
