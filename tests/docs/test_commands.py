"""The commands of how-tos and explanations run; those that are not run here are listed, so that none hides."""

from pathlib import Path

import pytest

from tests.docs_commands import blocks_of, run_blocks
from tests.programs import ROOT

DOCUMENTS = sorted(path for folder in ("how-to", "explanation") for path in (ROOT / "docs" / folder).glob("*.md"))

NOT_RUN = {
    "how-to/read-a-report.md": ["pip install", "empir evaluate"],
    "how-to/serve-your-model.md": ["pip install", "empir quantize", "empir serve", "curl"],
    "how-to/use-existing-clients.md": ["empir serve", "curl", "perf_analyzer -m", "perf_analyzer -m", "curl", "curl"],
    "how-to/tune.md": ["empir load", "empir serve", "empir load"],
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
        str(document.relative_to(ROOT / "docs")): [
            " ".join(command.split()[:2]) if not command.startswith("curl") else "curl"
            for block in blocks_of(document.read_text(encoding="utf-8"))
            if not block.runs
            for command in block.commands
        ]
        for document in DOCUMENTS
    }
    assert {name: commands for name, commands in skipped.items() if commands} == NOT_RUN
