"""HopSkipJump where the smallest change is known, with nothing but verdicts."""

from dataclasses import replace

import numpy as np
import pytest

from robustness.attacks.hopskipjump import HopSkipJump
from robustness.norms import NORMS, NormName
from robustness.victim import Victim
from runtime.prediction import Prediction
from tests.linear_victim import linear_victim
from tests.smallest_changes import CAT, GREY, alike, smallest
from tests.toys import Array


def size(attack: HopSkipJump, victim: Victim, seed: int) -> float:
    found = attack.run(victim, GREY, CAT, np.random.default_rng(seed))
    return float(NORMS[attack.norm].size(found[0].image[None] - GREY)[0])


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_it_comes_within_20_percent_of_the_smallest_and_asks_no_more_than_it_may(norm: NormName) -> None:
    victim = alike()
    for seed in range(3):
        victim.spent.queries = 0
        assert 1 <= size(HopSkipJump(norm, queries=4000), victim, seed) / smallest(norm) < 1.2
        assert 3000 < victim.spent.queries <= 4000
    assert victim.spent.gradient_calls == 0
    victim.close()


def test_it_knows_only_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    victim = alike()
    attack = HopSkipJump(queries=1000)
    expected = size(attack, victim, 0)
    whole = victim.predict

    def verdict_only(images: Array) -> Prediction:
        told = whole(images)
        hidden = np.full_like(told.logits, np.nan)
        return replace(told, votes=np.full_like(told.votes, -1), probs=hidden, logits=hidden)

    monkeypatch.setattr(victim, "predict", verdict_only)
    assert size(attack, victim, 0) == expected
    victim.close()


def test_where_no_noise_is_adversarial_it_starts_from_given_images() -> None:
    """Dog is only what is brighter than 0.97 on average, and noise of any grain but the coarsest is not."""
    victim = linear_victim([[(0, 1, 0)] * 4] * 3, [(1.9, 0, 0)] * 3)  # 4 times the mean's distance from grey
    alone, helped = (
        HopSkipJump(queries=2000, starts=3),
        HopSkipJump(queries=2000, starts=3, start_images=np.ones_like(GREY)),
    )
    assert not alone.run(victim, GREY, CAT, np.random.default_rng(0))
    assert size(helped, victim, 0) / (8 * 0.475) == pytest.approx(1, abs=0.05)
    assert helped.parameters()["start_images"] == 1
    victim.close()


def test_of_the_given_images_it_starts_from_the_nearest_with_another_verdict_and_asks_about_each_once() -> None:
    """Dog is only what is brighter than 0.975 on average: two of the four are, and the nearer one lies within eps."""
    victim = linear_victim([[(0, 1, 0)] * 4] * 3, [(1.9, 0, 0)] * 3)
    given = np.stack([np.full_like(GREY[0], value) for value in (0.6, 1.0, 0.98, 0.0)])
    asked = []
    for count in (1, 5):
        images, labels = np.repeat(GREY, count, axis=0), np.zeros(count, dtype=np.int64)
        victim.spent.queries = 0
        attack = HopSkipJump("linf", 0.49, queries=100, starts=3, start_images=given)
        found = attack.run(victim, images, labels, np.random.default_rng(0))
        asked.append(victim.spent.queries)
        assert len(found) == count and all(NORMS["linf"].size(f.image[None] - GREY)[0] <= 0.49 for f in found.values())
        assert found[0].step == 0  # it was near enough
    assert asked[1] - asked[0] == 4 * (asked[0] - len(given))
    assert not HopSkipJump(starts=3, start_images=given[:1]).run(victim, GREY, CAT, np.random.default_rng(0))
    victim.close()


def test_within_eps_it_stops_there() -> None:
    near, far = (HopSkipJump(eps=share * smallest("l2"), queries=3000) for share in (0.98, 2.0))
    victim = alike()
    assert not near.run(victim, GREY, CAT, np.random.default_rng(0))
    asked = victim.spent.queries
    assert far.run(victim, GREY, CAT, np.random.default_rng(0))
    assert victim.spent.queries - asked < 0.5 * asked
    victim.close()
