"""The commands of the README run as a reader runs them, or are listed here."""

import re
from collections.abc import Iterator
from pathlib import Path

from runtime.bundle import DEFAULT_BUNDLE, load_bundle
from tests.docs_commands import NOT_RUN, Block, run_blocks, substituted
from tests.programs import ROOT, free_port, program

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

RUNS = {
    "make serve": "EMPIR Serve answers on",
    "curl -F file=@samples/7.png http://127.0.0.1:8000/predict": '"label":"7"',
    "curl -F file=@samples/7.png 'http://127.0.0.1:8000/robustness-probe?eps=0.3'": "not_broken_within_budget",
    "curl -F file=@samples/7.png 'http://127.0.0.1:8000/robustness-probe?bundle=mnist-empir&eps=0.15'": (
        '"adversarial":{"label":"9"'
    ),
    ".venv/bin/empir predict samples/7.png": "100% of the members agree",
    ".venv/bin/empir probe samples/7.png --bundle mnist-empir --eps 0.15": "the vote is broken",
    ".venv/bin/empir doctor": "processor",
    ".venv/bin/empir --help": "Exit codes",
    "empir train --list": "mnist-empir",
    "empir load run --rate 200 --duration 10 http://127.0.0.1:8000": "p99",
}
"""Each with a part of what it says."""

NOT_RUN_HERE = [
    "make test",
    'pip install -e ".[export,evaluate]"',
    "empir evaluate mnist --suite adaptive --n 1000",
    "empir evaluate mnist --suite autoattack --n 1000",
    "empir evaluate mnist-empir --suite empir-2020 --n 1000",
    'pip install -e ".[export]"',
    "empir train --images photos --out bundles/photos",
    "empir quantize MODEL.onnx --calibration DIR --members fp32,int8,w4a8 --out bundles/mine",
    "make bundle-imagenet",
    "empir serve --workers 2 --grpc-port 8001",
    "docker compose up",
    "empir load capacity --p99 10ms http://127.0.0.1:8000",
    "empir load compare baseline=http://127.0.0.1:9001 http://127.0.0.1:8000",
]
"""They install, take hours, or need a second server; what they do other tests do with toys. That `empir` takes them is
tests/docs/test_command_lines.py's.
"""

INSTEAD = {
    "make serve": "empir serve &",
    ".venv/bin/empir": "empir",
    "empir doctor": "empir doctor --port 0",
    "--rate 200 --duration 10": "--rate 20 --duration 1 --force",
}
"""Parts of commands for a test: installed already, a port that is free, seconds."""


def commands_of(body: str) -> Iterator[str]:
    """Those of a block: what follows `$ `, or, in a block without a prompt, every line; without their remarks."""
    lines = body.splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in prompted or filter(None, lines):
        yield re.sub(r"\s+# .*$", "", line)


BLOCKS = [(words, list(commands_of(body))) for words, body in FENCE.findall(README)]


def test_every_command_is_known() -> None:
    assert {command for _, block in BLOCKS for command in block} == {*RUNS, *NOT_RUN_HERE}
    assert [command for words, block in BLOCKS if NOT_RUN in words for command in block if command in RUNS] == []


def test_they_run(tmp_path: Path) -> None:
    program("curl")
    folder, port = tmp_path / "checkout", str(free_port())
    folder.mkdir()
    for name in ("samples", "bundles"):
        (folder / name).symlink_to(ROOT / name)
    blocks = [
        Block(1 + README.count("\n", 0, README.index(command)), (command,), (says,), runs=True)
        for command, says in RUNS.items()
    ]
    run_blocks(substituted(blocks, {**INSTEAD, ":8000": f":{port}"}), folder, {"EMPIR_PORT": port})


def test_what_make_is_asked_for_is_there() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    asked = [command.split()[1] for _, block in BLOCKS for command in block if command.startswith("make ")]
    assert asked and set(asked) <= set(targets)


def test_the_answer_shown_is_of_the_default_bundle_as_it_is() -> None:
    manifest = load_bundle(ROOT / "bundles" / DEFAULT_BUNDLE).manifest
    assert f'"bundle":{{"name":"{manifest.name}","version":"{manifest.version}"}}' in README
    for member in manifest.members:
        assert f'{{"name":"{member.name}","precision":{member.precision.model_dump_json()},"status":"ok"' in README
