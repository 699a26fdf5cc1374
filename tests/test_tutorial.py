"""docs/tutorial.md: its commands, in order, on a small folder of real photos, with training cut to seconds."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.docs_commands import blocks_of, run_blocks, substituted
from tests.programs import ROOT, free_port, program

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PHOTOS = ROOT / "tests" / "data" / "photos"
MOST_COMMANDS = 10
BUNDLES = re.compile(r"^\$ empir train .*--out bundles/(\S+)", re.MULTILINE)


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


def test_what_it_makes_leaves_a_clean_tree(tmp_path: Path) -> None:
    git = program("git")
    subprocess.run([git, "init", "--quiet", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    made = [".venv", "photos", "reports", *(f"bundles/{name}" for name in BUNDLES.findall(TUTORIAL))]
    assert len(made) == 5
    for name in made:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    status: list[str | Path] = [git, "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == "?? .gitignore\n"
