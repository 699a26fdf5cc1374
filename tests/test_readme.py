"""The README is true where a program can tell."""

import re
from pathlib import Path

import click
import pytest

import service.cli
from service.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(path for path in ROOT.glob("*.md"))
ROW = re.compile(r"^\| `EMPIR_(\w+)` \| `(.*?)` \| .+? \| (?:`--([\w-]+)`)? ?\|$", re.MULTILINE)


def test_the_settings_shown_have_their_defaults_and_flags() -> None:
    """The most used ones; that every setting is documented is tests/docs/test_reference.py's."""
    options = {option.name for option in service.cli.main.commands["serve"].params if isinstance(option, click.Option)}
    rows = ROW.findall(README)
    assert len(rows) > 5
    for name, default, flag in rows:
        assert default == str(Settings.model_fields[name.lower()].default)
        assert flag.replace("-", "_") == (name.lower() if name.lower() in options else "")


def test_it_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_resolve(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_documents_name_no_machine_and_no_registry() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert re.findall(r"/work/|/root/|pypi\.org|registry\.npmjs|deb\.debian", text) == []
