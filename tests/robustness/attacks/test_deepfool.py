"""DeepFool where the smallest change is known."""

import numpy as np
import pytest

from robustness.attacks.deepfool import NUDGE, DeepFool
from robustness.norms import NORMS, NormName
from robustness.victim import Victim
from runtime.manifest import Vote
from tests.linear_victim import MAJORITY, linear_victim, planted_victim
from tests.smallest_changes import CAT, GREY, alike, smallest, smallest_of_planted
from tests.toy_bundle import ToyBundle

NORM_NAMES = sorted(NORMS)
SEED = np.random.default_rng(0)


def size(victim: Victim, attack: DeepFool) -> tuple[float, int]:
    """Of what is found, and after how many steps."""
    found = attack.run(victim, GREY, CAT, SEED)[0]
    victim.close()
    return float(NORMS[attack.norm].size(found.image[None] - GREY)[0]), found.step


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_on_a_linear_vote_one_step_is_the_smallest_change(norm: NormName) -> None:
    found, step = size(alike(), DeepFool(norm, overshoot=0.01))
    assert step == 1
    assert found == pytest.approx(1.01 * (smallest(norm) + NUDGE), rel=1e-5)


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_an_average_of_probabilities_is_not_linear_and_takes_little_more(norm: NormName) -> None:
    found, _ = size(alike(Vote(rule="average")), DeepFool(norm))
    assert 1 <= found / smallest(norm) < 1.05


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_it_turns_the_members_together(norm: NormName) -> None:
    found, _ = size(planted_victim(), DeepFool(norm, overshoot=0.005))
    assert 1 <= found / smallest_of_planted(norm) < 1.04


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_the_nearest_of_all_coalitions_and_classes_is_taken(norm: NormName) -> None:
    """fp32 falls to eel with 1/40, low-a to dog with 1/20: then nobody has a majority for cat, fp32 decides for eel.

    The two low-precision members are both dog only where another quarter is 1/4 brighter, too.
    """
    nothing, dog, eel = (0, 0, 0), (0, 20, 0), (0, 0, 40)
    quarters = [
        (dog, nothing, nothing, nothing),
        (nothing, (0, 4, 0), nothing, nothing),
        (nothing, nothing, eel, nothing),
    ]
    found, _ = size(linear_victim(quarters, [(1, 0, 0)] * 3, MAJORITY), DeepFool(norm, overshoot=0.005))
    expected = 1 / 20 if norm == "linf" else np.sqrt(16 * (1 / 20**2 + 1 / 40**2))
    assert 1 <= found / expected < 1.04


def test_one_member_alone_is_the_classic() -> None:
    """fp32 decides nothing here, so the attack on it walks on until the vote falls, or does not."""
    victim = planted_victim()
    assert not DeepFool(member="fp32", steps=3).run(victim, GREY, CAT, SEED)
    assert victim.spent.gradient_calls == 3 * 2
    victim.close()


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_what_lies_beyond_eps_is_not_found(norm: NormName) -> None:
    victim = alike()
    assert not DeepFool(norm, eps=0.98 * smallest(norm)).run(victim, GREY, CAT, SEED)
    assert DeepFool(norm, eps=1.05 * smallest(norm)).run(victim, GREY, CAT, SEED)
    victim.close()


def test_a_blind_victim_is_left_where_it_is() -> None:
    victim = linear_victim([[(0, 0, 0)] * 4] * 3, [(1, 0, 0)] * 3)
    assert not DeepFool(steps=2).run(victim, GREY, CAT, SEED)
    victim.close()


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_images_that_do_not_fit_into_memory_together_are_taken_in_turn(
    toy: ToyBundle, victim: Victim, norm: NormName, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = toy.images[:7], toy.classes[:7]
    together = DeepFool(norm).run(victim, images, labels, SEED)
    asked = victim.spent.gradient_calls
    monkeypatch.setattr("robustness.attacks.deepfool.MOST_BYTES", 2 * 3 * 9 * images[0].nbytes)
    apart = DeepFool(norm).run(victim, images, labels, SEED)
    assert victim.spent.gradient_calls == 2 * asked
    assert {source: each.step for source, each in apart.items()} == {s: each.step for s, each in together.items()}
    for source, each in apart.items():
        np.testing.assert_array_equal(each.image, together[source].image)
