"""The server process: start, memory, and what HTTP adds to a prediction."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.context import ROOT, Context
from benchmarks.figure import Figure, spread
from runtime.ensemble import Ensemble
from runtime.images import decode_image

STARTS = 5
REQUESTS = 1000
ROUNDS = 5
MOST_START_S, MOST_MEMORY_MB, MOST_ADDED_MS = 1.5, 160, 0.6


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: psutil.Process
    url: str
    connection: socket.socket
    start_s: float


def start(context: Context) -> list[Figure]:
    """From the process's start to a 200 of /health/ready."""
    times = []
    for _ in range(STARTS):
        with running(context.bundle_dir.parent) as server:
            times.append(server.start_s)
    good = statistics.median(times) <= MOST_START_S
    return [Figure("server: start to ready", "at most 1.5 s", f"{spread(times)} s", good)]


def memory(context: Context) -> list[Figure]:
    """Resident memory after 1,000 predictions and one probe; the probe process beside it."""
    with running(context.bundle_dir.parent) as server:
        _post(server, "/robustness-probe", context.samples[7])
        for index in range(REQUESTS):
            _post(server, "/predict", context.samples[index % len(context.samples)])
        main = server.process.memory_info().rss / 1e6
        beside = [child.memory_info().rss / 1e6 for child in server.process.children(recursive=True)]
    text = f"{main:.0f} MB (probe process: {max(beside, default=0):.0f} MB)"
    return [Figure("memory after 1,000 predictions", "at most 160 MB", text, main <= MOST_MEMORY_MB)]


def added(context: Context) -> list[Figure]:
    """p50 of POST /predict as one client sees it, less p50 of decode and predict in this process, in turn."""
    ensemble = Ensemble.of_bundle(context.bundle)
    spec = context.bundle.manifest.input
    differences = []
    with running(context.bundle_dir.parent) as server:
        for _ in range(ROUNDS):
            bodies = [context.samples[i % len(context.samples)] for i in range(REQUESTS)]
            here = [_timed(lambda body=body: ensemble.predict(decode_image(body, spec))) for body in bodies]
            there = [_timed(lambda body=body: _post(server, "/predict", body)) for body in bodies]
            differences.append(1000 * (statistics.median(there) - statistics.median(here)))
    good = statistics.median(differences) <= MOST_ADDED_MS
    return [Figure("/predict adds to the in-process time, p50", "at most 0.6 ms", f"{spread(differences)} ms", good)]


@contextmanager
def running(bundles: Path, **settings: str) -> Iterator[Running]:
    """A server of its own on a free port, without its log; `settings` are environment variables."""
    environment = {**os.environ, "EMPIR_BUNDLES": str(bundles), "EMPIR_LOG_FORMAT": "json", **settings}
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split("http://")[1].split()[0]
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            assert _ask(connection, "GET", "/health/ready") == {"status": "ready"}
            yield Running(psutil.Process(process.pid), f"http://{address}", connection, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _post(server: Running, path: str, body: bytes) -> None:
    answer = _ask(server.connection, "POST", path, body)
    assert "code" not in answer, answer


def _ask(connection: socket.socket, method: str, path: str, body: bytes = b"") -> dict[str, object]:
    """One request on a bare socket: a client's own work must not be counted as the server's."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: benchmark\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 16)
    headers, _, received = received.partition(b"\r\n\r\n")
    length = int(headers.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(received) < length:
        received += connection.recv(1 << 16)
    answer: dict[str, object] = json.loads(received)
    return answer


def _timed(call: object) -> float:
    assert callable(call)
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
