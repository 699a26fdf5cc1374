"""The real server, uvicorn and its guarded protocol included, in a thread of the tests' process, on a free port."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn
from fastapi import FastAPI

from runtime.ensemble import Ensemble
from runtime.manifest import Vote
from runtime.member import Network
from service.app import create_app
from service.catalog import Catalog, Served
from service.logs import make_logger
from service.server import configure
from service.settings import Settings
from service.state import State
from tests.toys import toy_entry, toy_manifest

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
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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

    def raw(self, *parts: bytes) -> bytes:
        """Everything that comes back for these bytes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=HANG_S) as connection:
            for part in parts:
                connection.sendall(part)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def settle(self) -> None:
        """Return when what is written after an answer, its log line and its measurements, is there.

        The event loop serves this request after it has finished with the ones before.
        """
        self.http.get("/health/live")

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, once everything before is counted; 0 while there is no such sample."""
        self.settle()
        return self.state.metrics.registry.get_sample_value(name, labels) or 0.0

    def logged(self, request_id: str) -> list[dict[str, Any]]:
        """The log lines of one request."""
        self.settle()
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        return [line for line in lines if line.get("request_id") == request_id]

    def _post(self, path: str, picture: bytes, query: dict[str, str]) -> httpx.Response:
        return self.http.post(path, params=query, content=picture, headers={"Content-Type": "image/png"})


@contextmanager
def live(settings: Settings, catalog: Catalog) -> Iterator[Live]:
    """Serve the catalog until the block ends."""
    lines = io.StringIO()
    app = create_app(settings, catalog, make_logger(settings, lines), seed=0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(configure(app, settings))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        port = listener.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG_S, trust_env=False) as client:
                running = Live(app, port, client, lines)
                running.settle()  # it listens already, and answers once it has started
                yield running
        finally:
            server.should_exit = True
            thread.join()


def bundle_catalog(folder: Path) -> Catalog:
    """A catalog of the bundle in `folder` and its neighbours, this one the default."""
    return Catalog.load(Settings(bundles=folder.parent, default=folder.name))


def toy_catalog(*members: Network, rule: Literal["majority", "average"] = "majority") -> Catalog:
    """A catalog of one bundle, `toy`, without files: 1 x 1 images, labels no and yes, the last member breaks ties."""
    entries = [toy_entry(member.name, member.precision) for member in members]
    manifest = toy_manifest(entries, members[-1].name, (1, 1, 1), ("no", "yes"))
    manifest = manifest.model_copy(update={"vote": Vote(rule=rule, tie_breaker=members[-1].name)})
    ensemble = Ensemble(members, manifest.vote, len(manifest.labels), concurrency="requests")
    return Catalog([Served(manifest, Path("nowhere"), ensemble)], manifest.name)
