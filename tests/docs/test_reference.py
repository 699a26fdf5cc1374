"""The reference is what the code says, and leaves nothing out."""

import re

import pytest
from prometheus_client import CollectorRegistry

from docs.generate import REFERENCE, pages
from runtime.manifest import Manifest, Member
from service.errors import STATUS
from service.metrics import Metrics
from service.settings import Settings


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", pages())
def test_a_page_is_what_the_code_says_now(name: str) -> None:
    assert page(name) == pages()[name](), "write it again: make docs"


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(pages())


def test_every_setting_is_there_with_its_default() -> None:
    rows = [line.split(" | ") for line in page("settings.md").splitlines() if line.startswith("| `EMPIR_")]
    found = {row[0].removeprefix("| `EMPIR_").rstrip("`").lower(): row[1].strip("`") for row in rows}
    assert found == {
        name: "none" if field.default is None else str(field.default) for name, field in Settings.model_fields.items()
    }


def test_every_metric_is_there() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}
    text = page("metrics.md")
    assert len(names) >= 15
    assert [name for name in sorted(names) if f"| `{name}` |" not in text] == []


def test_every_field_of_a_manifest_is_there() -> None:
    text = page("manifest.md")
    for part in (Manifest, Member):
        assert [name for name in part.model_fields if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(("name", "column"), [("settings.md", 4), ("metrics.md", -1), ("manifest.md", -1)])
def test_every_row_has_words(name: str, column: int) -> None:
    """Or a link to the part that has them."""
    rows = [line for line in page(name).splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert [row for row in rows if not row.split("|")[1:-1][column].strip() and "](#" not in row] == []


def test_every_field_of_an_answer_has_words() -> None:
    """Or a link to the part that has them."""
    rows = [line for line in page("http.md").partition("## Parts of answers")[2].splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert [row for row in rows if not row.split("|")[-2].strip() and "](#" not in row] == []


def test_the_main_operations_and_every_error_are_there() -> None:
    text = page("http.md")
    for operation in ("POST /predict", "POST /robustness-probe", "GET /bundles", "GET /metrics", "GET /health/ready"):
        assert f"## {operation}\n" in text
    assert [code for code, status in STATUS.items() if not re.search(rf"\| {status} \| `{code}` \| \w", text)] == []
    assert "Successful Response" not in text
