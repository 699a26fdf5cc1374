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


def test_the_table_of_settings_has_each_with_its_default() -> None:
    found = {name.lower(): default for name, default, _ in ROW.findall(README)}
    assert found == {name: str(field.default) for name, field in Settings.model_fields.items()}


def test_the_flags_in_the_table_are_those_of_serve() -> None:
    in_table = {flag.replace("-", "_") for _, _, flag in ROW.findall(README) if flag}
    serve = service.cli.main.commands["serve"]
    assert in_table == {option.name for option in serve.params if isinstance(option, click.Option)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_resolve(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_documents_name_no_machine_and_no_registry() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert re.findall(r"/work/|/root/|pypi\.org|registry\.npmjs|deb\.debian", text) == []
