"""Every `empir ...` that a document shows, run or not, is a command line that `empir` takes."""

import re
import shlex
from pathlib import Path

import click
import pytest

import empir
from tests.programs import ROOT

DOCUMENTS = [
    *(path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"),  # which tells of what was
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "clients" / "python" / "README.md",
    *sorted((ROOT / "loadtest").rglob("*.md")),
]
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^(?:\$ )?(?:taskset -c 1 )?(?:\.venv/bin/)?(empir .*)$", re.MULTILINE)
INLINE = re.compile(r"`(empir [^`]+)`")
CONTINUED = re.compile(r"\\\n(?:> )?")
REMARK = re.compile(r"\s+#.*$| &$")


def command_lines(text: str) -> list[str]:
    """Those in blocks, continued lines joined, and those in the midst of sentences."""
    shown = [line for body in FENCE.findall(text) for line in SHOWN.findall(CONTINUED.sub(" ", body))]
    return [REMARK.sub("", line) for line in shown] + INLINE.findall(FENCE.sub("", text))


def check(line: str) -> None:
    """Raises click.UsageError unless `empir` takes it; arguments may be left out, as sentences do."""
    found: click.Command | None = empir.main
    _, *arguments = shlex.split(line)
    while isinstance(found, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        found = found.get_command(click.Context(found), name)
        if found is None:
            raise click.UsageError(f"No such command {name!r}.")
    if found is not None and not isinstance(found, click.Group) and "--help" not in arguments:
        try:
            found.make_context(line, arguments)
        except click.MissingParameter:
            return


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_they_are_taken(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in command_lines(document.read_text(encoding="utf-8")):
        check(line)


def test_some_are_found_of_each_kind() -> None:
    text = (
        "Say `empir doctor`.\n\n```\n$ empir predict a.png \\\n>     --bundle mnist   # a remark\nempir serve &\n```\n"
    )
    assert command_lines(text) == ["empir predict a.png      --bundle mnist", "empir serve", "empir doctor"]
    assert sum(len(command_lines(path.read_text(encoding="utf-8"))) for path in DOCUMENTS) > 50


@pytest.mark.parametrize(
    "line", ["empir predikt", "empir evaluate mnist --suit adaptive", "empir probe a.png --norm l3"]
)
def test_what_empir_does_not_take_is_refused(line: str) -> None:
    with pytest.raises(click.UsageError):
        check(line)
