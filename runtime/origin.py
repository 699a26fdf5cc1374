"""Where a bundle or a report was made: hardware, packages, code."""

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def hardware() -> str:
    """The processor and its cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def packages(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of `names` that are installed, and of Python."""
    found = {"python": platform.python_version()}
    for package in names:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Of this code; `-dirty` if it was changed, `unknown` outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()
