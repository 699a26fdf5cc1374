"""The command `empir`: every command in its help, only the one that is asked for imported."""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError

import click
import pytest
from click.testing import CliRunner

import empir
from robustness.evaluation.suites import SUITES
from runtime.bundle import DEFAULT_BUNDLE, MANIFEST
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
EXTRA = ("torch", "onnx", "onnxscript", "ml_dtypes", "pooch", "tqdm", "filelock")
"""What `export` needs and the server does not."""


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
        f"finally: print('imported', sorted(n for n in sys.modules if n.split('.')[0] in {PACKAGES}))"
    )
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[-1] == "imported ['runtime', 'runtime.late_imports']"
    listed = itertools.takewhile(bool, lines[lines.index("Commands:") + 1 :])
    assert [line.split()[0] for line in listed] == COMMANDS
    codes = {
        1: "refused",
        2: "command line",
        3: "load generator",
        4: "objective",
        70: "--debug",
        130: "interrupted",
    }
    for code, meaning in codes.items():
        assert any(line.split()[:1] == [str(code)] and meaning in line for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_with_a_help_and_an_example(name: str) -> None:
    result = CliRunner().invoke(empir.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    command = empir.Lazy.get_command(empir.main, click.Context(empir.main), name)
    assert command is not None and command.help
    assert f"empir {name}" in result.stdout


def test_the_help_of_evaluate_names_bundles_that_are_there() -> None:
    text = CliRunner().invoke(empir.main, ["evaluate", "--help"]).stdout
    named = re.findall(r"^ +empir evaluate ([a-z0-9-]+)", text, re.MULTILINE)
    assert len(named) == 3 and all((ROOT / "bundles" / name / MANIFEST).exists() for name in named)
    assert f"({DEFAULT_BUNDLE} if none is named)" in " ".join(text.split())


def options_of(command: click.Command, path: str) -> Iterator[tuple[str, click.Option]]:
    """Every option of a command and of the commands below it, with the words that reach it."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from options_of(below, f"{path} {name}")
    for option in (each for each in command.params if isinstance(each, click.Option)):
        yield f"{path} {option.opts[0]}", option


def test_every_option_of_every_command_has_a_help() -> None:
    helps = {name: option.help or "" for name, option in options_of(empir.main, "empir")}
    assert {f"empir {name}" for name in COMMANDS} - {"empir report"} <= {" ".join(name.split()[:2]) for name in helps}
    assert [name for name, text in helps.items() if not re.match(r"\w.*", text)] == []  # words, not a default alone
    assert [suite for suite in SUITES if f"{suite}: " not in helps["empir evaluate --suite"]] == []


@pytest.mark.parametrize("name", ["train", "quantize", "check", "evaluate", "load engine"])
def test_the_help_of_a_command_does_not_need_its_extra(name: str) -> None:
    missing = f"import sys\nsys.modules.update(dict.fromkeys({EXTRA}))\n"
    result = python(f"{missing}import empir\nempir.main('{name} --help'.split())")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"empir {name}" in result.stdout


def test_a_command_whose_extra_is_missing_says_what_to_install() -> None:
    result = python("import sys\nsys.modules['torch'] = None\nimport empir\nempir.main(['train', '--list'])")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == 'Error: train needs the package torch: pip install -e ".[export]"\n'


def test_an_error_that_an_interrupt_became_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise ImportError("cannot import name 'x'") from interrupt
    except ImportError as error:
        failing(monkeypatch, error)
    result = CliRunner().invoke(empir.main, ["bundles"])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Interrupted.\n")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `empir bundles` raise."""

    def fail() -> None:
        raise error

    command = click.Command("bundles", callback=fail)
    monkeypatch.setattr(empir, "command_of", lambda module, name: command)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predikt"], "Error: No such command 'predikt'. Did you mean 'predict'?\nTry: empir --help\n"),
        (["predict"], "Error: Missing argument 'IMAGES...'.\nTry: empir predict --help\n"),
        (["load", "rum"], "Error: No such command 'rum'. Did you mean 'run'?\nTry: empir load --help\n"),
        (
            ["predict", "a.png", "--debug"],
            "Error: --debug: expected before the command\nTry: empir --debug predict a.png\n",
        ),
        (["attack"], "Error: No such command 'attack'.\nTry: empir --help\n"),
        (["serve", "--port", "high"], "Error: Invalid value for '--port': 'high' is not a valid integer.\n"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_said_in_two_lines(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(empir.main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(says)
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (click.ClickException("expected this, got that"), 1, "Error: expected this, got that\n"),
        (FileNotFoundError(2, "No such file", "a.png"), 1, "Error: a.png: No such file\n"),
        (
            KeyError("key"),
            70,
            "Error: KeyError: 'key'\nThis should not happen; to see where it did: empir --debug bundles\n",
        ),
        (AssertionError(), 70, "Error: AssertionError: no words\nThis should not happen"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_said_in_a_line_or_two(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    failing(monkeypatch, error)
    result = CliRunner().invoke(empir.main, ["bundles"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith(says)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("error", [click.ClickException("expected"), KeyError("key")], ids=["refusal", "defect"])
def test_debug_lets_the_error_through(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    failing(monkeypatch, error)
    assert CliRunner().invoke(empir.main, ["--debug", "bundles"]).exception is error


def test_nobody_who_reads_on_is_no_error() -> None:
    command = [sys.executable, "-m", "empir", "bundles", "--json"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(HANG_S) in (0, 1)  # as the output fits into a buffer or not


@pytest.mark.parametrize(
    "arguments", [["bundles"], ["predict", "samples/7.png"], ["doctor", "--port", "0"]], ids=" ".join
)
def test_there_are_no_colours_in_a_pipe(arguments: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "empir", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        timeout=HANG_S,
        check=True,
    )
    assert run.stderr == b"" and run.stdout
    assert b"\x1b" not in run.stdout


def test_the_version_is_the_installed_packages_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"empir-serve": "1.2.3"}[name])
    assert CliRunner().invoke(empir.main, ["--version"]).stdout == "1.2.3\n"

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert CliRunner().invoke(empir.main, ["--version"]).stdout == "a checkout that was not installed\n"
