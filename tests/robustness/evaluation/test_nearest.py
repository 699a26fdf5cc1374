"""The search for nearer adversarial images: against the smallest change that there is, from images that are far."""

from pathlib import Path

import numpy as np
import pytest

from robustness.attacks.registry import Settings
from robustness.evaluation.findings import Findings
from robustness.evaluation.nearest import Nearest
from robustness.evaluation.steps import NEAREST, Step, build
from robustness.evaluation.suites import Target, nearest
from robustness.norms import NORMS, NormName
from robustness.victim import Victim
from tests.linear_victim import linear_victim, planted_victim
from tests.robustness.evaluations import EPS, STEPS, grey, plan, run, with_graphs
from tests.smallest_changes import CAT, GREY, alike, smallest, smallest_of_planted
from tests.toys import Array

NORM_NAMES: list[NormName] = ["linf", "l2"]


def far() -> Array:
    """Dog for `alike`, by one quarter that is as bright as can be."""
    image = GREY.copy()
    image[:, :, 6:] = 1
    return image


def searched(victim: Victim, norm: NormName, known: Array, rounds: int = 8) -> float:
    """The size found for the grey image; none found is infinite."""
    attack = Nearest(norm, rounds=rounds, known=known)
    found = attack.run(victim, GREY, CAT, np.random.default_rng(0))
    if not found:
        return np.inf
    image = found[0].image[None]
    assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
    assert victim.predict(image).verdict[0] != CAT[0]
    return float(NORMS[norm].size(image - GREY)[0])


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_it_comes_near_to_the_smallest_change(norm: NormName) -> None:
    victim, least = alike(), smallest(norm)
    assert NORMS[norm].size(far() - GREY)[0] > 3 * least
    assert least * (1 - 1e-5) <= searched(victim, norm, far()) < least * 1.1
    victim.close()


def test_all_members_that_a_majority_needs_are_drawn_along() -> None:
    victim, known = planted_victim(), GREY.copy()
    known[:, :, [0, 1, 4, 5]] = 1  # quarters 0 and 2, which draw both to dog
    assert victim.predict(known).verdict[0] == 1
    least = smallest_of_planted("linf")
    assert least * (1 - 1e-5) <= searched(victim, "linf", known) < least * 1.1
    victim.close()


def test_each_image_has_a_ball_of_its_own() -> None:
    """Two images, one of which cannot be turned by less: the other is turned all the same."""
    victim = alike()
    images, labels = np.concatenate([GREY, GREY]), np.array([0, 0])
    least = smallest("linf")
    direction = np.sign(np.repeat([10, -30, 5, 20], 16)).reshape(1, 1, 8, 8).astype(np.float32)
    known = np.concatenate([GREY + np.float32(least * 1.0001) * direction, far()])
    found = Nearest("linf", rounds=5, known=known).run(victim, images, labels, np.random.default_rng(0))
    assert list(found) == [1]
    victim.close()


def test_without_a_slope_nothing_is_made_up() -> None:
    """Members that jump: only the line to the image known is left."""
    victim = linear_victim([[(0, 0, 0)] * 4] * 3, [(0, 1, 0)] * 3)
    known = far()
    size = searched(victim, "linf", known, rounds=4)
    assert size == pytest.approx(0.5 / 2**4)  # whatever is asked is dog: each round halves
    assert Nearest("linf").run(victim, GREY, CAT, np.random.default_rng(0)) == {}
    victim.close()


def test_more_rounds_never_find_something_larger() -> None:
    victim = alike()
    sizes = [searched(victim, "linf", far(), rounds) for rounds in (1, 2, 4, 6)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0]
    victim.close()


def test_an_evaluation_searches_for_those_that_fell_and_for_no_other(tmp_path: Path) -> None:
    victim = planted_victim()
    step = nearest(Target(with_graphs(), "linf", EPS))
    before, what = (plan(grey(4, wrong=[1]), steps) for steps in (STEPS, [*STEPS, step]))
    first = Findings.of(before, run(victim, tmp_path / "before", before))
    then = Findings.of(what, run(victim, tmp_path / "then", what))
    assert then.rows[-1].given.tolist() == [True, False, True, True]
    assert (then.size <= first.size).all() and (then.size[[0, 2, 3]] < first.size[[0, 2, 3]]).any()
    again = Findings.of(what, run(victim, tmp_path / "then", what))  # from the journal
    np.testing.assert_array_equal(again.smallest, then.smallest)
    victim.close()


def test_its_parameters_are_those_of_the_step() -> None:
    step = Step(NEAREST, Settings("l2", 0.5, steps=3), purpose="nearest", cascade=False)
    attack = build(step)
    assert isinstance(attack, Nearest) and (attack.norm, attack.steps) == ("l2", 3)
    parameters = attack.parameters()
    assert (parameters["steps"], parameters["rounds"], parameters["loss"]) == (3, Nearest.rounds, "joint_margin")
    assert step.cost > 3 * Nearest.rounds
