"""How soon a fresh clone answers: everything from `git clone` to the first label that is not a download."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from statistics import median
from urllib.error import URLError

from benchmarks.context import ROOT, Context
from benchmarks.figure import Figure, spread
from service.server import SAMPLE, listen

BUILD = "setuptools>=77"
"""What pip fetches to build the project, which the lock does not name."""
ROUNDS = 5
MOST_S = 10.0
PATIENCE_S = 300.0


def first_answer(_: Context) -> list[Figure]:
    """Packages are fetched once and then taken from a folder; each round is a clone and an environment of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Path(scratch) / "wheels"
        for wanted in (["--require-hashes", "-r", str(ROOT / "requirements.lock")], [BUILD]):
            _quietly(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), *wanted)
        seconds = [_answered(Path(scratch) / f"clone-{number}", wheels) for number in range(ROUNDS)]
    what = "seconds from git clone to the first answer, without downloads"
    return [Figure(what, f"at most {MOST_S:g}", spread(seconds, 1), median(seconds) <= MOST_S)]


def _answered(clone: Path, wheels: Path) -> float:
    """Seconds of one round. Raises RuntimeError, with what make said, if its server ends or is silent for too long."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    hidden = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    from_folder = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    start = time.monotonic()
    _quietly("git", "clone", "--quiet", str(ROOT), str(clone))
    said = clone.with_suffix(".log")
    with said.open("w") as log:
        command = ["make", "serve", f"PORT={port}"]
        make = subprocess.Popen(command, cwd=clone, env=kept | from_folder, stdout=log, stderr=log)
        try:
            while not _asked(f"http://127.0.0.1:{port}/predict"):
                if make.poll() is not None or time.monotonic() - start > PATIENCE_S:
                    raise RuntimeError(f"make serve: expected a server, got: {said.read_text()[-1000:]}")
                time.sleep(0.05)
            return time.monotonic() - start
        finally:
            make.terminate()
            make.wait()


def _asked(url: str) -> bool:
    """Whether a real digit is answered there."""
    request = urllib.request.Request(url, SAMPLE.read_bytes(), {"Content-Type": "image/png"})
    with suppress(URLError, ConnectionError), urllib.request.urlopen(request, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _quietly(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
