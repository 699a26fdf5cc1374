"""Older reports told as of now: what was not measured is left out, and a new one is as it was."""

from robustness.reporting.older import told_now
from robustness.reporting.paired import compared
from robustness.reporting.report import AGAINST_FULL, BEST_MEMBER, Comparison, Report
from tests.linear_victim import LINEAR_MANIFEST
from tests.toy_report import toy_report

LOW, OTHER, FULL = (member.name for member in LINEAR_MANIFEST.members)


def attacked(*names: str, comparisons: list[Comparison]) -> Report:
    """A report whose suite attacked these members alone, too."""
    whole = toy_report(LINEAR_MANIFEST)
    attacks = [*whole.attacks, *(whole.attacks[0].model_copy(update={"on": name}) for name in names)]
    return whole.model_copy(update={"attacks": attacks, "comparisons": comparisons})


def old(first: str, second: str, what: str = "low precision against its full-precision twin") -> Comparison:
    fields = {"what": what, "first": first, "second": second, "points": -12.5, "only_first": 0, "only_second": 1}
    return Comparison.model_validate({**fields, "sentence": f"{first} withstands 12.5 points less than {second}."})


def test_a_member_has_a_figure_of_its_own_where_it_was_attacked() -> None:
    told = told_now(attacked(LOW, comparisons=[]))
    assert [row.own is not None for row in told.members] == [True, False, False]


def test_only_those_are_compared_that_were_both_attacked() -> None:
    told = told_now(attacked(LOW, FULL, comparisons=[old(LOW, FULL), old(OTHER, FULL), old("vote", FULL, BEST_MEMBER)]))
    assert told.comparisons == [compared(AGAINST_FULL, LOW, FULL, 0, 1, 8)]


def test_the_best_member_is_one_of_all() -> None:
    told = told_now(attacked(LOW, OTHER, FULL, comparisons=[old("vote", FULL, BEST_MEMBER)]))
    assert told.comparisons == [compared(BEST_MEMBER, "vote", FULL, 0, 1, 8)]


def test_what_is_told_now_is_told_once() -> None:
    told = told_now(attacked(LOW, FULL, comparisons=[old(LOW, FULL)]))
    assert told_now(told) == told
