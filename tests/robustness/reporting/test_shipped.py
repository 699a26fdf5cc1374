"""The reports that are shipped, of bundles and documents: a page drawn from its report, which says what was found."""

import hashlib
import re
from pathlib import Path

import pytest

from robustness.reporting.older import told_now
from robustness.reporting.report import REPORT, SUITE, Report
from robustness.reporting.report_html import PAGE, page, read_report

ROOT = Path(__file__).parents[3]
SHIPPED = sorted([*(ROOT / "bundles").glob(f"*/{REPORT}"), *(ROOT / "docs" / "reports").glob(f"*/{REPORT}")])


@pytest.fixture(params=SHIPPED, ids=lambda path: path.parent.name)
def shipped(request: pytest.FixtureRequest) -> tuple[Path, Report]:
    path: Path = request.param
    return path.parent, read_report(path)


def test_there_are_some() -> None:
    assert {path.parent.name for path in SHIPPED} >= {"mnist", "mnist-empir", "cifar10-empir"}


def test_the_page_is_what_is_drawn_from_the_report(shipped: tuple[Path, Report]) -> None:
    """Not so: `empir report bundles/NAME/report.json`."""
    folder, report = shipped
    assert (folder / PAGE).read_text(encoding="utf-8") == page(report)


def test_a_report_says_itself_what_its_page_says(shipped: tuple[Path, Report]) -> None:
    assert told_now(shipped[1]) == shipped[1]


def test_a_member_that_was_not_attacked_alone_has_no_figure_of_its_own(shipped: tuple[Path, Report]) -> None:
    _, report = shipped
    alone = {row.on for row in report.attacks if row.purpose in SUITE}
    assert {row.name for row in report.members if row.own is not None} == alone & {row.name for row in report.members}
    for comparison in report.comparisons:
        assert {comparison.first, comparison.second} <= alone


def test_the_files_are_those_of_the_report(shipped: tuple[Path, Report]) -> None:
    folder, report = shipped
    for file in report.files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256


def test_the_command_names_no_place(shipped: tuple[Path, Report]) -> None:
    command = shipped[1].run.command
    assert command.startswith("empir evaluate ") and not re.search(r"[/\\~]", command)
