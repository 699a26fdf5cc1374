"""The server process: a socket, uvicorn, and a word to the person who started it."""

import asyncio
import gc
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click
import uvicorn
from fastapi import FastAPI

from runtime.bundle import read_manifest
from runtime.errors import BundleError
from service.acceptor import Acceptor
from service.app import create_app
from service.catalog import Catalog
from service.logs import adopt, make_logger
from service.oip.grpc_lifespan import require_grpc
from service.protocol import guarded
from service.settings import Settings
from service.state import State

DRAIN_S = 10
SAMPLE = Path(__file__).parent.parent / "samples" / "7.png"


def serve(settings: Settings) -> None:
    """Load, listen, and serve until a signal ends it. Raises EmpirError or OSError before anything listens."""
    require_grpc(settings)
    require_grpc_port(settings)
    listener = listen(settings.host, settings.port)
    with listener:
        log = make_logger(settings)
        adopt(log)
        config = configure(create_app(settings, Catalog.load(settings), log), settings)
        settle()
        with suppress(KeyboardInterrupt):  # Ctrl-C, after everything has ended as it should
            _Server(config, listener, settings).run(sockets=[listener])


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """uvicorn as this project runs it: guarded, and silent where the application logs itself."""
    return uvicorn.Config(
        app.state.edge,
        proxy_headers=False,  # nothing here asks who the client is
        http=guarded(settings.header_timeout_s),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


def settle() -> None:
    """Tell the garbage collector that what is loaded by now stays: it need not look at it again."""
    gc.collect()
    gc.freeze()


def require_grpc_port(settings: Settings) -> None:
    """Raise OSError where gRPC's port is taken: workers share it, and would share it with another server as well."""
    if settings.grpc_port is not None:
        listen(settings.host, settings.grpc_port, "--grpc-port").close()


def listen(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A socket that listens. Raises OSError, naming host, port and the flag that chooses it, where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, UnicodeError) as error:  # the latter for a name that no host can have
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise OSError(f"cannot listen on {host} port {port}: {reason}; choose another with {flag}") from error
    return listener


def drain(app: object) -> None:
    """Say that the server is not ready any more, and end the probe process. Probes are then answered 503."""
    state = getattr(getattr(app, "state", None), "empir", None)
    if isinstance(state, State):
        state.ready = False
        state.probes.close()


class _Server(uvicorn.Server):
    """uvicorn's server; it says where it is once it is there."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, settings: Settings) -> None:
        super().__init__(config)
        self._listener, self._settings = listener, settings
        self._acceptor: Acceptor | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more work and end a probe under way, so that its client gets an answer while there is time."""
        drain(self.config.app)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._acceptor = Acceptor(self._listener, self._protocol)
            host, port = self._listener.getsockname()[:2]
            click.echo(greeting(host, port, self._settings))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """Of a connection, as uvicorn makes it."""
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def greeting(host: str, port: int, settings: Settings) -> str:
    """What a person wants to know once the server answers: where, and what to type."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://{f'[{here}]' if ':' in here else here}:{port}"
    commands = (f"    curl -F file=@{_picture(settings)} {url}{path}" for path in ("/predict", "/robustness-probe"))
    return "\n".join([f"EMPIR Serve answers on {url} (try it by hand: {url}/)", "", *commands, ""])


def _picture(settings: Settings) -> str:
    """A picture to send: a sample where the default bundle reads digits, otherwise one that only they have."""
    with suppress(BundleError):  # as it is on disk by now
        reads = read_manifest(settings.bundles / settings.default).input.resize
        if reads == "digit" and SAMPLE.exists():
            return str(SAMPLE.relative_to(Path.cwd()) if SAMPLE.is_relative_to(Path.cwd()) else SAMPLE)
    return "YOUR_PICTURE"
