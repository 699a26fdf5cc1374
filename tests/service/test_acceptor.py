"""Connections that wait: all of them in one turn of the event loop, and none after the end."""

import asyncio
import socket
from contextlib import ExitStack

from service.acceptor import Acceptor

CLIENTS = 40


class Greeting(asyncio.Protocol):
    """Says a word to whoever connects, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"welcome")
        transport.close()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_all_that_wait_are_taken_together_and_none_after_the_end() -> None:
    async def taken() -> int:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2 * CLIENTS))
            clients = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(CLIENTS)]
            acceptor = Acceptor(listener, Greeting)
            await turns(10)  # far fewer than there are clients
            acceptor.close()
            for client in clients:
                client.setblocking(False)
            assert [client.recv(7) for client in clients] == [b"welcome"] * CLIENTS
            late = stack.enter_context(socket.create_connection(listener.getsockname()))
            late.setblocking(False)
            await turns(10)
            try:
                return len(late.recv(7))
            except BlockingIOError:
                return 0

    assert asyncio.run(taken()) == 0
