"""The command `empir`: every command in its help, only the one that is asked for imported."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import click
import pytest
from click.testing import CliRunner

import empir
from tests.live import HANG_S
from tests.programs import ROOT, environment

COMMANDS = [
    "serve",
    "predict",
    "probe",
    "evaluate",
    "report",
    "bundles",
    "train",
    "quantize",
    "check",
    "threshold",
    "load",
    "doctor",
]
PACKAGES = ("models", "export", "runtime", "robustness", "service", "loadtest", "torch", "onnxruntime", "numpy")


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=HANG_S, check=False
    )


def test_help_lists_every_command_and_imports_none() -> None:
    result = python(
        "import empir, sys\n"
        "try: empir.main(['--help'])\n"
        f"finally: print('imported', sorted({{name.split('.')[0] for name in sys.modules}} & set({PACKAGES})))"
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[-1] == "imported []"
    listed = lines[lines.index("Commands:") + 1 : -1]
    assert [line.split()[0] for line in listed] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_with_a_help_and_an_example(name: str) -> None:
    result = CliRunner().invoke(empir.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    command = empir.Lazy.get_command(empir.main, click.Context(empir.main), name)
    assert command is not None and command.help
    assert f"empir {name}" in result.stdout


def test_a_command_whose_extra_is_missing_says_what_to_install() -> None:
    result = python("import sys\nsys.modules['torch'] = None\nimport empir\nempir.main(['train', '--list'])")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == 'Error: train needs the package torch: pip install -e ".[export]"\n'


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(empir.main, ["predikt"])
    assert result.exit_code == 2
    assert "No such command 'predikt'" in result.stderr


def test_the_version_is_the_installed_packages_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"empir-serve": "1.2.3"}[name])
    assert CliRunner().invoke(empir.main, ["--version"]).stdout == "1.2.3\n"

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert CliRunner().invoke(empir.main, ["--version"]).stdout == "a checkout that was not installed\n"
