"""The commands of how-tos and explanations run; those that are not run here are listed, so that none hides."""

import re
from pathlib import Path

import pytest

from tests.docs_commands import NOT_RUN, blocks_of, run_blocks
from tests.programs import ROOT

DOCUMENTS = sorted(path for folder in ("how-to", "explanation") for path in (ROOT / "docs" / folder).glob("*.md"))
EVERY = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "clients" / "python" / "README.md"]

KNOWN = {
    "clients/python/README.md": ["pip install"],
    "docs/how-to/read-a-report.md": ["pip install", "empir evaluate"],
    "docs/how-to/serve-your-model.md": ["pip install", "empir quantize", "empir serve", "curl"],
    "docs/how-to/use-existing-clients.md": [
        "empir serve",
        "curl",
        "perf_analyzer -m",
        "perf_analyzer -m",
        "curl",
        "curl",
    ],
    "docs/how-to/tune.md": ["empir load", "empir serve", "empir load"],
}
"""Beginnings of the commands that take a data set, minutes, or somebody's own model."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_commands_run(document: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("samples", "bundles"):
        (folder / name).symlink_to(ROOT / name)
    run_blocks(blocks_of(document.read_text(encoding="utf-8")), folder, {})


def test_what_is_not_run_is_known() -> None:
    skipped = {
        str(document.relative_to(ROOT)): [
            " ".join(command.split()[:2]) if not command.startswith("curl") else "curl"
            for block in blocks_of(document.read_text(encoding="utf-8"))
            if not block.runs
            for command in block.commands
        ]
        for document in (*DOCUMENTS, ROOT / "clients" / "python" / "README.md")
    }
    assert {name: commands for name, commands in skipped.items() if commands} == KNOWN


FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCES = ("console", f"console {NOT_RUN}", "python", f"python {NOT_RUN}", "")
"""What stands between fences: commands, programs, and, without a word, neither."""
COMMAND = re.compile(r"^(\$ |(empir|pip|curl|make|python3?|docker) )", re.MULTILINE)


@pytest.mark.parametrize("document", EVERY, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_hides_in_another_kind_of_block(document: Path) -> None:
    for word, body in FENCE.findall(document.read_text(encoding="utf-8")):
        assert word in FENCES
        assert word or not COMMAND.search(body), body


def test_programs_that_are_not_run_are_known() -> None:
    """KServe's client brings a hundred packages."""
    fence = f"```python {NOT_RUN}\n"
    assert [path.name for path in EVERY if fence in path.read_text(encoding="utf-8")] == ["use-existing-clients.md"]
