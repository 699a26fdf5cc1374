"""Our attacks against the libraries' own on a shipped network and real digits, at an eps at which about half fall."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustness.attacks.attack import Attack
from robustness.attacks.registry import Settings, make_attack
from robustness.attacks.square import Square
from robustness.evaluation.steps import build
from robustness.evaluation.suites import Target, make_suite
from robustness.reference import AutoAttack, Foolbox
from robustness.reporting.report import REPORT
from robustness.reporting.report_html import read_report
from robustness.victim import Array, Victim
from runtime.bundle import load_bundle
from runtime.images import decode_image

BUNDLES = Path(__file__).parents[2] / "bundles"
FP32 = 0
EPS = 0.09


@dataclass(frozen=True)
class Contest:
    """One of our attacks against a library's; on the full-precision member alone, or on the vote.

    slack: by how many images ours may fall behind, by the luck of random starts and squares.
    """

    ours: Attack
    theirs: AutoAttack | Foolbox
    member: int | None = FP32
    slack: int = 1


CONTESTS = {
    "pgd": Contest(
        make_attack("pgd-cross_entropy", Settings("linf", EPS, 20)), Foolbox("pgd", "linf", EPS, steps=20), slack=2
    ),
    "apgd": Contest(make_attack("apgd-cross_entropy", Settings("linf", EPS, 50)), AutoAttack("apgd-ce", "linf", EPS)),
    "apgd on the vote": Contest(
        make_attack("apgd-mean_log_probability", Settings("linf", EPS, 50, restarts=2)),
        AutoAttack("apgd-ce", "linf", EPS),
        member=None,
    ),
    "square": Contest(Square("linf", 0.16, 200), AutoAttack("square", "linf", 0.16, queries=200), slack=3),
}


@pytest.fixture(scope="module")
def digits() -> tuple[Array, NDArray[np.int64]]:
    """Clean test images, from the galleries of two shipped reports, and their classes."""
    pictures = {
        picture.index: picture
        for name in ("mnist-empir", "mnist")
        for picture in read_report(BUNDLES / name / REPORT).gallery
    }
    manifest = load_bundle(BUNDLES / "mnist-empir").manifest
    images = [decode_image(base64.b64decode(each.original), manifest.input) for each in pictures.values()]
    labels = [manifest.labels.index(each.label) for each in pictures.values()]
    return np.concatenate(images), np.array(labels)


@pytest.fixture(scope="module")
def empir() -> Iterator[Victim]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks run in ONNX Runtime; more would only wait for each other
    victim = Victim.of_bundle(load_bundle(BUNDLES / "mnist-empir", gradients=True))
    yield victim
    victim.close()
    torch.set_num_threads(threads)


def test_those_that_minimise_turn_every_digit_as_the_suite_runs_them(
    empir: Victim, digits: tuple[Array, NDArray[np.int64]]
) -> None:
    """Members of 2 bits: of DeepFool's first 20 steps, and of CW's first 100, few show."""
    images, labels = digits[0][:6], digits[1][:6]
    manifest = load_bundle(BUNDLES / "mnist-empir", gradients=True).manifest
    steps = [
        step for step in make_suite("adaptive", Target(manifest, "l2", 2.5)) if step.attack in ("cw-l2", "deepfool")
    ]
    assert len(steps) == 2
    for step in steps:
        assert len(build(step).run(empir, images, labels, np.random.default_rng(0))) == len(images)


@pytest.mark.parametrize("contest", CONTESTS.values(), ids=CONTESTS.keys())
def test_ours_finds_as_much_as_theirs(empir: Victim, digits: tuple[Array, NDArray[np.int64]], contest: Contest) -> None:
    images, labels = digits
    attacked = empir if contest.member is None else empir.alone(contest.member)
    ours, theirs = (
        set(attack.run(attacked, images, labels, np.random.default_rng(0))) for attack in (contest.ours, contest.theirs)
    )
    assert 0.15 * len(images) < len(theirs) < 0.85 * len(images)
    assert len(ours) >= len(theirs) - contest.slack
