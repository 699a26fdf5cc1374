"""`python -m loadtest.echo --port P`: a server that only answers 200, to see what the load generator itself can do."""

import asyncio
from typing import cast

import click
import httptools

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Echo(asyncio.Protocol):
    """One connection: every whole request gets the same answer."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_complete(self) -> None:
        self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Serve on loopback until cancelled; a line says where."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    click.echo(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0 takes a free one.")
def main(port: int) -> None:
    """Answer 200 to everything."""
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(serve(port))
    else:
        uvloop.run(serve(port))


if __name__ == "__main__":
    main()
