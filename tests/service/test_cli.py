"""`empir serve`, when it cannot: one clear line, a non-zero exit, and no traceback."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime.bundle import MANIFEST
from service.cli import main
from tests.live import HANG_S
from tests.programs import ROOT, environment, served


@dataclass(frozen=True)
class Refusal:
    """What is wrong, the flags and variables it is started with, and a part of what it says."""

    id: str
    says: str
    flags: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    spoil: Callable[[Path], object] = lambda bundle: None


def alter(bundle: Path) -> None:
    """Change one byte of a graph."""
    graph = bundle / "fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")


def rename(bundle: Path) -> None:
    """Give the bundle in this folder the name of another."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "name": "other"}))


REFUSALS = [
    Refusal("no folder", "none: expected a folder of bundles (--bundles, EMPIR_BUNDLES)", ("--bundles", "none")),
    Refusal("no bundle", "expected bundles, folders with a bundle.json", spoil=shutil.rmtree),
    Refusal("corrupt", "toy/fp32.onnx: corrupt or altered", spoil=alter),
    Refusal("missing file", "toy/w2a4-a.onnx: cannot be read", spoil=lambda b: (b / "w2a4-a.onnx").unlink()),
    Refusal("corrupt manifest", "toy/bundle.json: the whole: ", spoil=lambda b: (b / MANIFEST).write_text("{")),
    Refusal("another name", "toy/bundle.json: name is 'other'", spoil=rename),
    Refusal("unknown default", "expected one that is served (toy), got 'no'", ("--default", "no")),
    Refusal("mode", "--mode / EMPIR_MODE: expected 'full' or 'quorum', got 'bogus'", ("--mode", "bogus")),
    Refusal("EMPIR_MODE", "EMPIR_MODE: expected 'full' or 'quorum'", variables=(("EMPIR_MODE", "bogus"),)),
    Refusal("EMPIR_QUEUE", "Error: EMPIR_QUEUE: expected a whole number", variables=(("EMPIR_QUEUE", "long"),)),
    Refusal("port", "--port / EMPIR_PORT: expected at most 65535, got 65536", ("--port", "65536")),
    Refusal("no host", "EMPIR_HOST: expected text of 1 or more characters", variables=(("EMPIR_HOST", ""),)),
    Refusal("no host's name", "cannot listen on a..b port 0: ", ("--host", "a..b")),
    Refusal("another machine's host", "cannot listen on 192.0.2.1 port 0: ", ("--host", "192.0.2.1")),
]


def test_a_misspelt_setting_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPIR_PORTS", "9000")
    result = CliRunner().invoke(main, ["serve", "--bundles", "none"])
    warning, error = result.stderr.splitlines()
    assert warning == "Warning: EMPIR_PORTS is no setting, and changes nothing. Did you mean EMPIR_PORT?"
    assert error.startswith("Error: none: expected a folder of bundles")


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_what_is_wrong_is_said_in_one_line(toy_copy: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal.spoil(toy_copy)
    monkeypatch.setenv("EMPIR_DEFAULT", "toy")
    for name, value in refusal.variables:
        monkeypatch.setenv(name, value)
    flags = ["serve", "--port", "0", "--bundles", str(toy_copy.parent), *refusal.flags]
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # not by an exception of another kind
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert refusal.says in line


@pytest.mark.parametrize(
    "flags", [("--port",), ("--grpc-port",), ("--workers", "2", "--grpc-port")], ids=["HTTP", "gRPC", "gRPC of workers"]
)
def test_a_port_in_use_is_said_in_one_line_by_the_real_process(toy_copy: Path, flags: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            served(toy_copy, *flags, port),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with {flags[-1]}\n"
    )


def test_help_has_examples() -> None:
    result = CliRunner().invoke(main, ["serve", "--help"])
    assert result.exit_code == 0
    assert "empir serve --port 9000 --bundles bundles --default mnist-empir" in result.stdout
