"""A server for the load generator's tests: it says of every request what to do with it, and does it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HANG_S = 30.0


@dataclass(frozen=True)
class Reply:
    """What comes back: pieces of bytes, each sent on its own; then the connection is kept, closed or reset."""

    pieces: tuple[bytes, ...] = ()
    close: bool = False
    reset: bool = False


@dataclass
class Seen:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


Script = Callable[[int, Seen], Reply]
"""Number of the request, from 0, and the request."""


def answer(status: int = 200, body: bytes = b"{}", more: str = "") -> Reply:
    """An ordinary answer."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return Reply((head.encode() + body,))


@dataclass
class Toy:
    """The running server."""

    script: Script
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        number = self.connections
        self.connections += 1
        try:
            while (request := await _read(reader, number)) is not None:
                self.seen.append(request)
                reply = self.script(len(self.seen) - 1, request)
                for piece in reply.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if reply.reset:
                    writer.transport.abort()
                if reply.close or reply.reset:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Seen | None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(lines[0].split()[1], headers, body, connection)


@contextmanager
def toy(script: Script) -> Iterator[Toy]:
    """Serve in a thread until the block ends."""
    server, started, stop = Toy(script), threading.Event(), threading.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        started.set()
        async with listener:
            while not stop.is_set():
                await asyncio.sleep(0.01)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert started.wait(HANG_S)
        yield server
    finally:
        stop.set()
        thread.join(HANG_S)
