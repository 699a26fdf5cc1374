"""The hand-written handler, as a process."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.context import ROOT
from loadtest.exchange import knock

START_S = 60.0


@contextmanager
def handwritten(bundle: Path) -> Iterator[str]:
    """Its address, while it serves the bundle in this folder on a free port. Raises OSError if it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "loadtest.baseline", str(bundle.absolute()), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await(url)
            yield url
        finally:
            process.terminate()


def _await(url: str) -> None:
    until = time.perf_counter() + START_S
    while True:
        try:
            return knock(url)
        except OSError:
            if time.perf_counter() > until:
                raise
            time.sleep(0.05)
