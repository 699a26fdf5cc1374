"""The server process, and how soon it is ready."""

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

STARTS = 5
MOST_START_S = 1.5
READY = b"GET /health/ready HTTP/1.1\r\nHost: benchmark\r\n\r\n"


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: psutil.Process
    url: str
    start_s: float


def start(context: Context) -> list[Figure]:
    """From the process's start to a 200 of /health/ready."""
    times = []
    for _ in range(STARTS):
        with running(context.bundle_dir.parent) as server:
            times.append(server.start_s)
    good = statistics.median(times) <= MOST_START_S
    return [Figure("server: start to ready", "at most 1.5 s", f"{spread(times)} s", good)]


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
            assert json.loads(exchange(connection, READY)) == {"status": "ready"}
        yield Running(psutil.Process(process.pid), f"http://{address}", time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """The body of the answer to a request on a bare socket. Raises ValueError if it is not answered 200."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    headers, _, received = received.partition(b"\r\n\r\n")
    length = int(headers.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(received) < length:
        received += _more(connection)
    if headers[9:12] != b"200":
        raise ValueError(f"expected 200, got {headers[9:12].decode()}: {received[:200].decode(errors='replace')}")
    return received


def _more(connection: socket.socket) -> bytes:
    if not (found := connection.recv(1 << 16)):
        raise ConnectionError("expected an answer, the server has closed the connection")
    return found
