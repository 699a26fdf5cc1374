"""runtime/late_imports.py: Ctrl-C while modules are imported, whatever becomes of the exception there."""

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from runtime.late_imports import ending_at_once, import_late
from tests.live import HANG_S
from tests.programs import ROOT, environment

SWALLOWS = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10_000): pass
except KeyboardInterrupt:
    raise ImportError("cannot import name 'array' from a partially initialized module")
"""
"""A module in which Ctrl-C comes, and comes out as another exception."""


def interrupted(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code that finds the modules of `folder` first, and that Ctrl-C reaches: tests may run where nothing does."""
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import sys; sys.path.insert(0, {str(folder)!r}); {code}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("click", "import empir"),
        ("slow", "import empir; empir.COMMANDS['predict'] = ('slow', ''); empir.main(['predict'])"),
        ("slow", "from runtime.late_imports import import_late; import_late('slow', 'train')"),
    ],
    ids=["of what empir needs itself", "of a command", "of what a command needs when it runs"],
)
def test_an_interrupt_in_an_import_ends_the_program_quietly(tmp_path: Path, module: str, code: str) -> None:
    (tmp_path / f"{module}.py").write_text(SWALLOWS)
    result = interrupted(tmp_path, code)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "Interrupted.\n")


def test_afterwards_an_interrupt_is_an_exception_again() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ending_at_once(), ending_at_once():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    set_to: list[object] = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: set_to.append(handler))
    with ending_at_once():
        pass
    assert set_to == []


def test_a_missing_package_comes_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "export.missing", None)
    with pytest.raises(click.ClickException, match=r"^train needs the package export\.missing: pip install -e .*, or"):
        import_late("export.missing", "train", ", or not")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        import_late("nowhere", "train")
