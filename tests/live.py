"""The real server, uvicorn and its guarded protocol included, in a thread of the tests' process, on a free port."""

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.catalog import Catalog
from service.ledger import Ledger
from service.logs import make_logger
from service.server import configure
from service.settings import Settings
from service.state import State
from service.tracer import Tracer

HANG_S = 30.0
"""A wait is this long only if something is broken."""


@dataclass(frozen=True)
class Live:
    """A running server: what it is made of, and ways to talk to it."""

    app: FastAPI
    port: int
    http: httpx.Client
    lines: io.StringIO

    @property
    def state(self) -> State:
        state: State = self.app.state.empir
        return state

    def predict(self, picture: bytes, **query: str) -> httpx.Response:
        """Post a picture to /predict."""
        return self._post("/predict", picture, query)

    def probe(self, picture: bytes, **query: str) -> httpx.Response:
        """Post a picture to /robustness-probe."""
        return self._post("/robustness-probe", picture, query)

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=HANG_S)

    def raw(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes until the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(data)
            return until_closed(connection)

    def settle(self) -> None:
        """Return when what follows an answer, its log line and its measurements, is written.

        The event loop takes up this request after it has finished with the ones that it has answered.
        """
        self.http.get("/health/live")

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value; 0 while there is no such sample."""
        self.settle()
        return self.state.metrics.registry.get_sample_value(name, labels) or 0.0

    def logged(self, request_id: str) -> list[dict[str, Any]]:
        """The log lines of one request."""
        self.settle()
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        return [line for line in lines if line.get("request_id") == request_id]

    def _post(self, path: str, picture: bytes, query: dict[str, str]) -> httpx.Response:
        return self.http.post(path, params=query, content=picture, headers={"Content-Type": "image/png"})


Start = Callable[..., Live]
"""`start(catalog, **settings)` in a test: a server of the test's own."""


@contextmanager
def live(settings: Settings, catalog: Catalog, port: int = 0, tracer: Tracer | None = None) -> Iterator[Live]:
    """Serve the catalog until the block ends, on this port or on a free one."""
    lines = io.StringIO()
    app = create_app(settings, catalog, make_logger(settings, lines), seed=0, tracer=tracer, ledger=Ledger(1))
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = uvicorn.Server(configure(app, settings))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        port = listener.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG_S, trust_env=False) as client:
                running = Live(app, port, client, lines)
                running.settle()  # the socket listens already; this is answered once the application has started
                yield running
        finally:
            server.should_exit = True
            thread.join()


def until_closed(connection: socket.socket) -> bytes:
    """Everything that comes until the other side closes, which may be a reset where it had not read everything."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem in an answer, whose form is checked."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() == {"type", "title", "status", "code", "detail", "request_id"}
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem
