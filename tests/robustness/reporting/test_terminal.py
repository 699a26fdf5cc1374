"""A report in a terminal: its sentences, and its tables' figures."""

import io
from pathlib import Path

from rich.console import Console

from robustness.reporting.terminal import show
from tests.linear_victim import LINEAR_MANIFEST
from tests.toy_report import toy_report

FAILED = "Not trustworthy: more steps change little. 9 fell."


def shown(**changes: object) -> list[str]:
    """Lines without runs of spaces."""
    console = Console(file=io.StringIO(), width=200)
    report = toy_report(LINEAR_MANIFEST, **changes)
    with console.capture() as captured:
        console.print(show(report, Path("reports/toy")))
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_every_sentence_of_the_summary_is_there_and_what_was_measured() -> None:
    lines = shown(summary=[FAILED, "Clean accuracy 87.5%."])
    assert lines[0].endswith("adaptive, linf eps 0.25, n = 8, seed 4")
    assert lines[1:3] == [FAILED, "Clean accuracy 87.5%."]
    assert lines[-1] == "written to reports/toy"


def test_the_vote_and_every_member_have_their_figures_with_intervals() -> None:
    report, lines = toy_report(LINEAR_MANIFEST), shown()
    assert "vote 87.5% (52.9% to 97.8%) 37.5% (13.7% to 69.4%)" in lines
    for row in report.members:
        figures = (row.clean, row.robust, row.own)
        shares = (f"{s.share:.1%} ({s.low:.1%} to {s.high:.1%})" for s in figures if s is not None)
        assert " ".join((row.name, *shares)) in lines


def test_attacks_of_checks_and_curve_are_left_to_the_page() -> None:
    names = {row.name: row.purpose for row in toy_report(LINEAR_MANIFEST).attacks}
    assert set(names.values()) == {"worst case", "paper", "curve", "check"}
    there = {name for name in names if any(line.startswith(name) for line in shown())}
    assert there == {name for name, purpose in names.items() if purpose in ("worst case", "paper")}


def test_the_papers_figures_stand_above_ours() -> None:
    lines = shown()
    (paper,) = [place for place, line in enumerate(lines) if line.startswith("paper:")]
    assert lines[paper + 1].startswith("ours:") and lines[paper].count(".") == lines[paper + 1].count(".")
    assert not any(line.startswith("ours:") for line in shown(paper=None))
