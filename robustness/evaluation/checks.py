"""Checks that can fail: what a sound evaluation must show (Carlini et al., arXiv 1902.06705)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from robustness.evaluation.ledger import Flags
from robustness.reporting.report import Check
from robustness.reporting.share import Share

SLACK = 0.02
"""The share of images by which random starts may let a longer or wider attack be the weaker one."""
QUERIES_ALONE = 0.002
"""The share of images that may fall to queries and not to gradients."""
NEW_TO_THE_SUITE = 0.01
"""The share of images that may fall to more steps and not to the suite."""


@dataclass(frozen=True)
class Evidence:
    """What the checks look at. Flags [n] say which of the same images are wrong after an attack; None: it did not run.

    suite: after all attacks of the suite. curves: by target the number wrong at each eps, rising to the whole space.
    queries_alone: by what was attacked, images that fell to queries and to no attack with gradients, of the suite's n.
    zero_gradients: by member, images at which, or at random in their ball, the margin has a gradient of exactly 0;
    empty where there is no graph. not_finite: of all gradients, those that were not.
    planted: adversarial images planted next to an image, and found. confirmed: adversarial images judged once more.
    """

    one_step: Flags | None
    iterative: Flags | None
    more_steps: Flags | None
    queries: Flags | None
    suite: Flags
    queries_alone: Mapping[str, int]
    n: int
    curves: Mapping[str, Sequence[int]]
    curve_images: int
    zero_gradients: Mapping[str, Share]
    not_finite: int
    members: Sequence[str]
    planted: Share
    confirmed: Share


def run_checks(evidence: Evidence) -> list[Check]:
    """All of them, in the order of a report."""
    checks = (one_step, queries, monotone, unbounded, more_steps, zero_gradients, finite, planted, confirmed)
    return [check(evidence) for check in checks]


def one_step(evidence: Evidence) -> Check:
    """An attack of many steps is at least as strong as one of a single step."""
    name = "iterative at least as strong as one step"
    if evidence.one_step is None or evidence.iterative is None:
        return _impossible(name)
    single, many, n = int(evidence.one_step.sum()), int(evidence.iterative.sum()), len(evidence.one_step)
    sentence = f"One step leaves {single} of {n} images wrong, several steps {many}."
    return Check(name=name, passed=many >= single, measured={"one step": single, "several": many}, sentence=sentence)


def queries(evidence: Evidence) -> Check:
    """An attack with gradients is at least as strong as one that only asks; otherwise gradients are masked.

    Of the suite's own the first is fair, and the second sharp: AutoAttack warns from the same share of images on.
    """
    name = "gradient at least as strong as queries"
    if evidence.more_steps is None or evidence.queries is None:
        return _impossible(name)
    gradient, asked, n = int(evidence.more_steps.sum()), int(evidence.queries.sum()), len(evidence.queries)
    alone, allowed = dict(evidence.queries_alone), _at_least_one(QUERIES_ALONE, evidence.n)
    worst = max(alone, key=lambda on: alone[on])
    sentence = (
        f"Gradients leave {gradient} of {n} images wrong, queries {asked}. In the whole suite at most {alone[worst]} "
        f"of {evidence.n} fell to queries alone ({worst}); {_are(allowed)} allowed."
    )
    measured = {"gradient": gradient, "queries": asked, "queries alone": alone}
    passed = gradient >= asked and alone[worst] <= allowed
    return Check(name=name, passed=passed, measured=measured, sentence=sentence)


def monotone(evidence: Evidence) -> Check:
    """A larger ball holds the smaller one, so more images fall in it."""
    name = "success monotone in eps"
    if not evidence.curves:
        return _impossible(name)
    drops = {on: max(0, *(a - b for a, b in pairwise(counts))) for on, counts in _curves(evidence)}
    allowed = _at_least_one(SLACK, evidence.curve_images)
    worst = max(drops, key=lambda on: drops[on])
    sentence = (
        f"From one eps to the next larger one at most {drops[worst]} of {evidence.curve_images} images fewer fall "
        f"({worst}); {_are(allowed)} allowed for random starts."
    )
    return Check(name=name, passed=drops[worst] <= allowed, measured={"largest drop": drops}, sentence=sentence)


def unbounded(evidence: Evidence) -> Check:
    """Anything in [0, 1] allowed, every image can be made adversarial."""
    name = "success 100% without a bound"
    if not evidence.curves:
        return _impossible(name)
    n = evidence.curve_images
    fallen = {on: counts[-1] for on, counts in _curves(evidence)}
    sentence = f"With every image of [0, 1] allowed, {min(fallen.values())} of {n} images fall at the least."
    return Check(name=name, passed=min(fallen.values()) == n, measured={"fallen": fallen, "n": n}, sentence=sentence)


def more_steps(evidence: Evidence) -> Check:
    """An attack of ten times the steps, towards every class to the end, finds little that the suite has not."""
    name = "more steps change little"
    if evidence.more_steps is None or evidence.iterative is None:
        return _impossible(name)
    n = len(evidence.more_steps)
    gained = int((evidence.more_steps & ~evidence.suite).sum())
    few, many = int(evidence.iterative.sum()), int(evidence.more_steps.sum())
    allowed = _at_least_one(NEW_TO_THE_SUITE, n)
    sentence = (
        f"Ten times the steps leave {many} of {n} images wrong instead of {few}; {gained} of them had withstood the "
        f"whole suite, {_are(allowed)} allowed."
    )
    measured = {"few steps": few, "many steps": many, "new to the suite": gained}
    return Check(name=name, passed=gained <= allowed, measured=measured, sentence=sentence)


def zero_gradients(evidence: Evidence) -> Check:
    """A member whose gradient is 0 hides from gradient attacks."""
    name = "no member with zero gradients"
    missing = [member for member in evidence.members if member not in evidence.zero_gradients]
    if missing:
        return _impossible(name, f"no gradient graph: {', '.join(missing)}")
    counts = {member: share.count for member, share in evidence.zero_gradients.items()}
    n = max(share.n for share in evidence.zero_gradients.values())
    worst = max(counts, key=lambda member: counts[member])
    sentence = (
        f"Of {n} images at most {counts[worst]} ({worst}) have a margin whose gradient is exactly 0, there or at "
        "random in the ball."
    )
    return Check(name=name, passed=counts[worst] <= SLACK * n, measured={"zero": counts, "n": n}, sentence=sentence)


def finite(evidence: Evidence) -> Check:
    """A gradient that is not finite counts as 0, and leads an attack nowhere."""
    count = evidence.not_finite
    sentence = f"{count:,} gradients of all attacks were not finite." if count else "No gradient was infinite or NaN."
    name = "every gradient finite"
    return Check(name=name, passed=count == 0, measured={"not finite": count}, sentence=sentence)


def planted(evidence: Evidence) -> Check:
    """An image moved next to a known adversarial one is broken at once."""
    name, found = "a planted adversarial example is found", evidence.planted
    if found.n == 0:
        return _impossible(name, "no adversarial image is known, at whatever eps")
    sentence = f"Beside known adversarial images {found.count} of {found.n} attacks found one."
    return Check(
        name=name,
        passed=found.count == found.n,
        measured={"planted": found.n, "found": found.count},
        sentence=sentence,
    )


def confirmed(evidence: Evidence) -> Check:
    """What is shipped as adversarial is, asked of the served graphs once more, from the file."""
    return confirmed_of(evidence.confirmed)


def confirmed_of(again: Share) -> Check:
    """The same, of a share of the images alone."""
    name = "every adversarial image confirmed"
    sentence = f"{again.count} of {again.n} adversarial images, read from the file, are judged wrong once more."
    measured = {"kept": again.n, "confirmed": again.count}
    return Check(name=name, passed=again.count == again.n, measured=measured, sentence=sentence)


def _at_least_one(share: float, n: int) -> int:
    """That share of n images, and always one: a check must not hang on a single start's luck."""
    return max(1, round(share * n))


def _are(count: int) -> str:
    return "1 is" if count == 1 else f"{count} are"


def _curves(evidence: Evidence) -> list[tuple[str, list[int]]]:
    return [(on, np.asarray(counts).tolist()) for on, counts in evidence.curves.items()]


def _impossible(name: str, why: str = "the attacks that it compares need gradient graphs") -> Check:
    return Check(name=name, passed=False, measured={}, sentence=f"Cannot be checked: {why}.")
