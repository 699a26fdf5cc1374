"""docs/tutorial.md: its commands, in order, on a small folder of real photos, with training cut to seconds."""

import shutil
from pathlib import Path

from tests.docs_commands import blocks_of, run_blocks, substituted
from tests.programs import ROOT, free_port, program

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PHOTOS = ROOT / "tests" / "data" / "photos"
MOST_COMMANDS = 10


def test_the_tutorial_runs(tmp_path: Path) -> None:
    program("curl")
    folder, port = tmp_path / "here", str(free_port())
    folder.mkdir()
    shutil.copytree(PHOTOS, folder / "photos")
    quick = {
        "--images photos": "--images photos --size 16 --epochs 2",
        "photos/val/n03417042/n03417042_10121.JPEG": "photos/brick/02.jpg",
        "--n 50": "--n 2 --workers 1",
        ":8000": f":{port}",
    }
    blocks = substituted(blocks_of(TUTORIAL), quick)
    run_blocks(blocks, folder, {"EMPIR_PORT": port, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert {path.name for path in (folder / "bundles").iterdir()} == {"photos"}
    assert (folder / "bundles" / "photos" / "report.html").exists()


def test_the_tutorial_has_ten_commands_or_fewer_and_few_that_do_not_run() -> None:
    blocks = blocks_of(TUTORIAL)
    assert 5 <= sum(len(block.commands) for block in blocks) <= MOST_COMMANDS
    assert [block.commands[0] for block in blocks if not block.runs] == [
        "python3 -m venv .venv && source .venv/bin/activate",
        "empir train --images photos --out bundles/photos-robust --robust",
    ]
