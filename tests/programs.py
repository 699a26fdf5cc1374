"""Programs and packages that some tests need, and what becomes of a test without them; processes that end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from tests.live import HANG_S

ROOT = Path(__file__).parents[1]


def program(name: str) -> str:
    """The path of a program. Without it the test is skipped, or fails where EMPIR_SKIP_NOTHING is set."""
    path = shutil.which(name)
    return path if path is not None else _missing(f"the program {name} is not installed")


def package(name: str) -> None:
    """Without this package the test is skipped, or fails where EMPIR_SKIP_NOTHING is set."""
    if find_spec(name) is None:
        _missing(f"the package {name} is not installed")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("EMPIR_SKIP_NOTHING"):
        pytest.fail(f"{reason}, and EMPIR_SKIP_NOTHING is set")
    pytest.skip(reason)


def environment() -> dict[str, str]:
    """A process's environment: this one's, with one thread for each library."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """A port that was free a moment ago, for a program that cannot be asked which one it has picked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, in the repository, its output in pipes; none of the group outlives the block."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=HANG_S)


def served(bundle: Path, *flags: str) -> Sequence[str]:
    """The command that serves a bundle and its neighbours on a free port."""
    where = ("--bundles", str(bundle.parent), "--default", bundle.name)
    return [sys.executable, "-m", "service", "serve", "--port", "0", *where, *flags]


def greeting(process: subprocess.Popen[str]) -> list[str]:
    """The server's first words: its address, an empty line, two commands to copy."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(4)]
    assert lines[0], process.communicate(timeout=HANG_S)
    return lines
