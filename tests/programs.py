"""Programs that some tests need beside Python, and what becomes of a test without them; processes that end."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.live import HANG_S


def program(name: str) -> str:
    """The path of a program. Without it the test is skipped, or fails where EMPIR_SKIP_NOTHING is set."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"the program {name} is not installed"
    if os.environ.get("EMPIR_SKIP_NOTHING"):
        pytest.fail(f"{reason}, and EMPIR_SKIP_NOTHING is set")
    pytest.skip(reason)


@contextmanager
def running(command: Sequence[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process, its output and errors in pipes as text, which does not outlive the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=HANG_S)
