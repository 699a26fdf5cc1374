"""The server process from outside: its first words, its clean end, torch nowhere in it."""

import os
import re
import shlex
import signal
from pathlib import Path

import httpx
import pytest

from service.server import greeting as words
from service.settings import Settings
from tests.live import HANG_S
from tests.programs import ROOT, greeting, running, served
from tests.toy_bundle import ToyBundle


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A shipped bundle that reads digits, alone in its folder."""
    (tmp_path / "mnist-empir").symlink_to(ROOT / "bundles" / "mnist-empir")
    return tmp_path / "mnist-empir"


def test_it_says_where_it_is_and_what_to_type(digits: Path) -> None:
    with running(served(digits, "--log-format", "json")) as process:
        first, empty, *commands = greeting(process)
        said = re.fullmatch(r"EMPIR Serve answers on (http://127\.0\.0\.1:\d+) \(try it by hand: \1/\)", first)
        assert said is not None and empty == ""
        for command, path in zip(commands, ("/predict", "/robustness-probe"), strict=True):
            curl, flag, form, url = shlex.split(command)
            assert (curl, flag, url) == ("curl", "-F", said.group(1) + path)
            field, _, sample = form.partition("=@")
            response = httpx.post(url, files={field: (ROOT / sample).read_bytes()}, timeout=HANG_S, trust_env=False)
            assert response.status_code == 200, response.text
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "onnxruntime" in maps and "libtorch" not in maps
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == -signal.SIGTERM  # uvicorn ends, and then lets the signal do what it is for
    assert output == ""
    assert [line[:13] for line in errors.splitlines()] == ['{"request_id"'] * 2


def test_a_digit_is_not_offered_to_a_bundle_for_photos(toy: ToyBundle) -> None:
    said = words("127.0.0.1", 80, Settings(bundles=toy.folder.parent, default="toy"))
    assert said.splitlines()[2:] == [
        "    curl -F file=@YOUR_PICTURE http://127.0.0.1:80/predict",
        "    curl -F file=@YOUR_PICTURE http://127.0.0.1:80/robustness-probe",
    ]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_a_signal_to_the_whole_group_ends_it_without_a_word(toy: ToyBundle, sent: signal.Signals, code: int) -> None:
    """As a terminal sends Ctrl-C: the probe process, which may just be starting, gets it too."""
    with running(served(toy.folder)) as process:
        greeting(process)
        os.killpg(process.pid, sent)
        output, errors = process.communicate(timeout=HANG_S)
    assert (process.returncode, output, errors) == (code, "", "")
