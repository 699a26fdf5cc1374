"""Checks that can fail: each does where it should, and a masked gradient is seen through in a whole report."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustness.attacks.deepfool import DeepFool
from robustness.evaluation.checks import Evidence, run_checks
from robustness.evaluation.ledger import Flags
from robustness.evaluation.soundness import plant
from robustness.evaluation.suites import CHECK_IMAGES, Target, checks, curve, eps_grid, make_suite
from robustness.norms import NormName
from robustness.reporting.assemble import Sitting, write_report
from robustness.reporting.share import Share
from robustness.victim import Victim
from runtime.ensemble import Ensemble
from tests.linear_victim import MAJORITY, NAMES, linear_victim
from tests.robustness.evaluations import EPS, STEPS, grey, plan, run, with_graphs, without_graphs
from tests.toy_bundle import ToyBundle
from tests.toys import FP32, W2A4, Array, LinearMember

N = 100


def first(count: int) -> Flags:
    """The first `count` of N images are wrong."""
    return np.arange(N) < count


SOUND = Evidence(
    one_step=first(40),
    iterative=first(70),
    more_steps=first(71),
    queries=first(50),
    suite=first(70),
    queries_alone={"vote": 1, "fp32": 0, "low": 1},
    n=N,
    curves={"vote": [1, 20, 60, 100], "fp32": [2, 30, 80, 100]},
    curve_images=N,
    zero_gradients={"fp32": Share.of(0, N), "low": Share.of(1, N)},
    not_finite=0,
    members=["fp32", "low"],
    planted=Share.of(10, 10),
    confirmed=Share.of(70, 70),
)


def failed(evidence: Evidence) -> list[str]:
    return [check.name for check in run_checks(evidence) if not check.passed]


def test_sound_evidence_passes() -> None:
    assert failed(SOUND) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"one_step": first(71)}, "iterative at least as strong as one step"),
        ({"queries": first(72)}, "gradient at least as strong as queries"),
        ({"queries_alone": {"vote": 0, "low": 2}}, "gradient at least as strong as queries"),
        ({"queries_alone": {"vote": 3}, "n": 1000}, "gradient at least as strong as queries"),
        ({"curves": {"vote": [1, 60, 57, 100]}}, "success monotone in eps"),
        ({"curves": {"vote": [1, 20, 60, 99]}}, "success 100% without a bound"),
        ({"suite": first(69)}, "more steps change little"),
        ({"zero_gradients": {"fp32": Share.of(0, N), "low": Share.of(3, N)}}, "no member with zero gradients"),
        ({"zero_gradients": {"fp32": Share.of(0, N)}}, "no member with zero gradients"),
        ({"not_finite": 1}, "every gradient finite"),
        ({"planted": Share.of(9, 10)}, "a planted adversarial example is found"),
        ({"planted": Share.of(0, 0)}, "a planted adversarial example is found"),
        ({"confirmed": Share.of(69, 70)}, "every adversarial image confirmed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_check_fails_when_it_should(change: dict[str, Any], name: str) -> None:
    assert failed(replace(SOUND, **change)) == [name]


def test_what_did_not_run_is_no_proof() -> None:
    nothing = replace(SOUND, one_step=None, iterative=None, more_steps=None, queries=None, curves={})
    names = failed(nothing)
    assert len(names) == 5
    assert all("Cannot be checked" in check.sentence for check in run_checks(nothing) if check.name in names)


class Masked(LinearMember):
    """Its gradient is 0 everywhere."""

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        return self._logits(images), np.zeros_like(images)


def masked(victim: Victim) -> Victim:
    members = [
        Masked(member.name, FP32 if member.name == "fp32" else W2A4, member.weight, member.bias)
        for member in victim.ensemble.members
        if isinstance(member, LinearMember)
    ]
    return Victim(Ensemble(members, MAJORITY, 3), members)


@pytest.fixture
def brighter() -> Iterator[Victim]:
    """All members become dog where the image is 1/12 brighter."""
    victim = linear_victim([[(0, 75, 0)] * 4] * 3, [(25, 0, -40)] * 3)
    yield victim
    victim.close()


def report_of(victim: Victim, folder: Path) -> Any:
    target = Target(with_graphs(), "linf", EPS)
    what = plan(grey(4), [*STEPS, *curve(target, eps_grid(target, "adaptive")), *checks(target)])
    ledgers = run(victim, folder / "work", what)
    return write_report(what, ledgers, victim, Sitting("pytest", 1.0, 1), folder / "out")


def test_a_report_on_sound_gradients_is_trustworthy(brighter: Victim, tmp_path: Path) -> None:
    report = report_of(brighter, tmp_path)
    assert (report.trustworthy, report.failed_checks) == (True, [])
    assert (report.robust.count, report.robust.n, report.confirmed.count) == (0, 4, 4)
    # Dog is reached where the mean is 1/12 (less up to 0.001 of noise) brighter.
    assert report.sizes.quantiles["0.5"] == pytest.approx(1 / 12, abs=0.004)
    assert [share.count for share in report.curve.series["vote"]][:2] == [4, 4] and report.curve.eps[0] == 0
    assert report.curve.series["vote"][-1].count == 0
    assert len(report.curve.eps) == 1 + len(eps_grid(Target(with_graphs(), "linf", EPS), "adaptive"))
    assert report.attacks[-1].parameters["queries"] == 1000 and CHECK_IMAGES >= 4


def test_a_masked_gradient_is_seen_through(brighter: Victim, tmp_path: Path) -> None:
    victim = masked(brighter)
    report = report_of(victim, tmp_path)
    victim.close()
    assert not report.trustworthy
    expected = {
        "gradient at least as strong as queries",
        "success 100% without a bound",
        "no member with zero gradients",
        "a planted adversarial example is found",
    }
    assert expected <= set(report.failed_checks)
    assert report.summary[0].startswith("Not trustworthy: gradient at least as strong as queries.")
    assert report.robust.count == 0  # queries found what gradients could not


def test_without_gradient_graphs_a_report_says_so_and_is_not_trustworthy(brighter: Victim, tmp_path: Path) -> None:
    victim = Victim(brighter.ensemble, [None] * 3)
    what = replace(plan(grey(2)), manifest=without_graphs())
    what = replace(what, steps=make_suite("adaptive", Target(without_graphs(), "linf", EPS)))
    report = write_report(what, run(victim, tmp_path / "work", what), victim, Sitting("pytest", 1.0, 1), tmp_path)
    asked = {"square", *(f"square on {member}" for member in NAMES), "hopskipjump", "check: queries"}
    assert {row.name for row in report.attacks} == asked
    assert report.robust.count == 0 and report.curve.series == {} and len(report.checks) > len(report.failed_checks)
    assert "low-a has no gradient graph: attacks that need its gradient were left out." in report.summary
    assert (report.sizes.n, report.sizes.searched) == (2, False)
    zero = next(check for check in report.checks if check.name == "no member with zero gradients")
    assert zero.sentence == "Cannot be checked: no gradient graph: low-a, low-b, fp32."


def test_planted_images_are_looked_for_by_every_kind_of_attack(toy: ToyBundle, victim: Victim) -> None:
    """In L2 those that minimise, too; one that finds nothing is seen."""
    clean = toy.images[:3]
    adversarial = np.roll(clean, 4, axis=3)  # another quadrant is the brightest
    kinds: dict[NormName, int] = {"linf": 1, "l2": 3}
    for norm, count in kinds.items():
        share = plant(victim, clean, adversarial, toy.classes[:3], norm, 0)
        assert (share.count, share.n) == (3 * count, 3 * count)


def test_an_attack_that_finds_no_planted_image_is_seen(
    toy: ToyBundle, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeepFool, "run", lambda *_, **__: {})
    share = plant(victim, toy.images[:3], np.roll(toy.images[:3], 4, axis=3), toy.classes[:3], "l2", 0)
    assert (share.count, share.n) == (6, 9)
