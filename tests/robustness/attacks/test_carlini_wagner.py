"""CW-L2 where the smallest change is known."""

from dataclasses import replace

import numpy as np
import pytest

from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.norms import NORMS
from robustness.victim import Victim
from runtime.manifest import Vote
from tests.linear_victim import MAJORITY, planted_victim
from tests.smallest_changes import CAT, GREY, alike, smallest, smallest_of_planted

ATTACK = CarliniWagner(search_steps=8, steps=150, learning_rate=0.02)
SEED = np.random.default_rng(0)


def l2(victim: Victim, attack: CarliniWagner = ATTACK) -> float:
    found = attack.run(victim, GREY, CAT, SEED)
    victim.close()
    return float(NORMS["l2"].size(found[0].image[None] - GREY)[0])


@pytest.mark.parametrize("vote", [MAJORITY, Vote(rule="average")], ids=["majority", "average"])
def test_it_comes_within_3_percent_of_the_smallest(vote: Vote) -> None:
    assert 1 <= l2(alike(vote)) / smallest("l2") < 1.03


def test_it_turns_the_members_together() -> None:
    """Each would more easily go to a class of its own, and then the vote would hold. Their margins are of size 1."""
    assert 1 <= l2(planted_victim(), replace(ATTACK, smoothness=0.2)) / smallest_of_planted("l2") < 1.03


def test_with_confidence_it_goes_on_to_that_margin() -> None:
    """A margin of 1 takes half as much again as the lead of 2."""
    sure = CarliniWagner(search_steps=8, steps=150, learning_rate=0.02, confidence=1.0)
    assert 1.5 <= l2(alike(), sure) / smallest("l2") < 1.55


def test_within_eps_it_stops_there() -> None:
    near, far = (CarliniWagner(eps=share * smallest("l2"), learning_rate=0.02) for share in (0.98, 1.2))
    victim = alike()
    assert not near.run(victim, GREY, CAT, SEED)
    asked = victim.spent.queries
    assert far.run(victim, GREY, CAT, SEED)
    assert victim.spent.queries - asked < 0.5 * asked
    victim.close()


def test_what_the_last_step_makes_is_judged_too() -> None:
    """One step of 0.1 for every pixel, three times as far as the border."""
    victim = alike()
    found = CarliniWagner(search_steps=1, steps=1, learning_rate=0.2).run(victim, GREY, CAT, SEED)
    assert {source: each.step for source, each in found.items()} == {0: 1}
    assert victim.spent.gradient_calls == 3
    victim.close()


def test_an_attacker_who_does_not_know_the_ensemble_turns_one_member_and_is_outvoted() -> None:
    """low-a alone goes to dog with a quarter 1/30 brighter; neither of the others follows."""
    victim = planted_victim()
    attack = CarliniWagner(search_steps=1, c=10, learning_rate=0.1, steps=50, member="low-a", transfer=True)
    assert not attack.run(victim, GREY, CAT, SEED)
    assert victim.spent.gradient_calls < 50  # once over the border it turns back
    victim.close()
    together = alike()
    found = attack.run(together, GREY, CAT, SEED)
    assert together.predict(found[0].image[None]).verdict.tolist() == [1]
    together.close()


def test_one_members_gradient_asks_no_other() -> None:
    victim = alike()
    CarliniWagner(search_steps=1, steps=5, learning_rate=1e-3, member="fp32").run(victim, GREY, CAT, SEED)
    assert victim.spent.gradient_calls == 5
    victim.close()
