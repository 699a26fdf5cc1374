"""Older reports told as of now: what was not measured is left out, and a new one is as it was."""

import pytest

from robustness.detection.auroc import auroc_interval
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


def test_sizes_are_those_of_the_images_attacked_at_every_eps() -> None:
    whole = toy_report(LINEAR_MANIFEST)
    curve = whole.curve.model_copy(update={"n": 4})
    sizes = told_now(whole.model_copy(update={"curve": curve})).sizes
    assert (sizes.n, sizes.among, sizes.searched) == (3, 4, False)  # number 0 was wrong before
    assert sizes.quantiles["0.5"] == 0.1 and sum(sizes.counts) == 3
    searched = whole.sizes.model_copy(update={"searched": True})
    assert told_now(whole.model_copy(update={"sizes": searched})).sizes == searched


def test_what_was_timed_had_been_turned_and_an_eps_is_as_people_write_it() -> None:
    whole = toy_report(LINEAR_MANIFEST, summary=["within linf 0.0314 on 3 images"], eps=8 / 255)
    assert whole.overhead is not None and whole.paper is not None
    row = whole.overhead.cpu[0].model_copy(update={"images": "attacked"})
    attack = whole.attacks[0].model_copy(update={"parameters": {"eps": 8 / 255}})
    changes = {
        "attacks": [attack],
        "overhead": whole.overhead.model_copy(update={"cpu": [row, whole.overhead.cpu[0]]}),
        "paper": whole.paper.model_copy(update={"warnings": ["At eps 0.0314, which", "At eps 0.0500, which"]}),
    }
    told = told_now(whole.model_copy(update=changes))
    assert told.overhead is not None and [each.images for each in told.overhead.cpu] == ["turned by an attack", "clean"]
    assert told.paper is not None and told.paper.warnings == ["At eps 8/255, which", "At eps 0.0500, which"]
    assert told.summary == ["within linf 8/255 on 3 images"]


def test_an_area_gets_its_interval() -> None:
    told = told_now(toy_report(LINEAR_MANIFEST)).detection
    assert told is not None
    assert told.attackers[0].interval == pytest.approx(auroc_interval(0.9876, 4, 8), abs=1e-6)
    assert told.attackers[1].interval is None


def test_what_is_told_now_is_told_once() -> None:
    told = told_now(attacked(LOW, FULL, comparisons=[old(LOW, FULL)]))
    assert told_now(told) == told
