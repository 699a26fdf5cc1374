"""The Python in the documentation runs as it stands, against a server of the shipped bundles."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.catalog import Catalog
from service.settings import Settings
from tests.live import Live, live
from tests.programs import ROOT

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "clients" / "python" / "README.md"]
BLOCKS = {
    f"{path.relative_to(ROOT)}-{number}": block
    for path in DOCUMENTS
    for number, block in enumerate(FENCE.findall(path.read_text(encoding="utf-8")))
}
SAYS = {
    "clients/python/README.md-0": "broken 0.13\n",
    "clients/python/README.md-1": "image: expected PNG, JPEG, WEBP, GIF or BMP, got ",
    "docs/how-to/use-existing-clients.md-0": "skipped",
}
"""A part of what each prints."""


@pytest.fixture(scope="module")
def shipped() -> Iterator[Live]:
    settings = Settings(bundles=ROOT / "bundles")
    with live(settings, Catalog.load(settings)) as server:
        yield server


def test_every_block_is_known() -> None:
    assert set(BLOCKS) == set(SAYS)


def test_what_a_block_says_that_it_prints_is_what_it_prints() -> None:
    assert f"# {SAYS['clients/python/README.md-0']}" in BLOCKS["clients/python/README.md-0"]


@pytest.mark.parametrize("name", BLOCKS)
def test_it_runs(
    name: str, shipped: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = f"127.0.0.1:{shipped.port}"
    code = BLOCKS[name].replace("127.0.0.1:8000", address).replace("Client()", f'Client("http://{address}")')
    exec(compile(code, name, "exec"), {})
    assert SAYS[name] in capsys.readouterr().out
