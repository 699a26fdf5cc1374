"""The gradient family: on linear victims, whose smallest perturbation is known, and what all of it keep to."""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from robustness.attacks import climb
from robustness.attacks.gradient import KINDS
from robustness.attacks.registry import Settings, make_attack
from robustness.losses.loss_names import ALONE, LOSSES
from robustness.norms import NORMS, NormName
from robustness.victim import Victim
from runtime.errors import InvalidValue
from runtime.manifest import Vote
from runtime.prediction import Prediction
from tests.linear_victim import linear_victim, planted_victim, saturated_victim
from tests.toy_bundle import ToyBundle
from tests.toys import Array

GREY = np.full((1, 1, 8, 8), 0.5, np.float32)
CAT = np.array([0])
AVERAGE = Vote(rule="average")
NAMED = [loss for loss in LOSSES if not loss.startswith(ALONE)]
SLOPES = ((0, 10, 0), (0, -30, 0), (0, 5, 0), (0, 20, 0))
LEAD = 2.0


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def smallest(norm: NormName) -> float:
    """The smallest perturbation of a grey image that makes members of `SLOPES` prefer dog, to cat's lead of 2.

    A pixel's slope is its quarter's over 16: the lead over the dual norm of the slopes.
    """
    slopes = np.repeat([dog for _, dog, _ in SLOPES], 16) / 16
    return LEAD / float(np.abs(slopes).sum() if norm == "linf" else np.linalg.norm(slopes))


@pytest.fixture(params=["majority", "average"])
def alike(request: pytest.FixtureRequest) -> Iterator[Victim]:
    """Three equal members, so that the vote falls where they do."""
    vote = Vote(rule=request.param, tie_breaker="fp32")
    victim = linear_victim([SLOPES] * 3, [(LEAD, 0, 0)] * 3, vote)
    yield victim
    victim.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["mean_probability", "joint_margin"])
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_a_linear_vote_falls_where_it_must_and_not_before(alike: Victim, kind: str, loss: str, norm: NormName) -> None:
    attack = {
        share: make_attack(f"{kind}-{loss}", Settings(norm, share * smallest(norm), steps=20)) for share in (0.98, 1.02)
    }
    assert not attack[0.98].run(alike, GREY, CAT, seeded())
    found = attack[1.02].run(alike, GREY, CAT, seeded())[0]
    size = float(NORMS[norm].size(found.image[None] - GREY)[0])
    assert smallest(norm) * 0.999 <= size <= 1.02 * smallest(norm) * 1.0001
    assert alike.predict(found.image[None]).verdict.tolist() == [1]


@pytest.mark.parametrize("loss", [*NAMED, "alone:low-a"])
def test_every_loss_leads_there_under_either_vote(alike: Victim, loss: str) -> None:
    attack = make_attack(f"bim-{loss}", Settings("linf", 1.02 * smallest("linf"), steps=10))
    assert attack.run(alike, GREY, CAT, seeded())[0].step > 0


@pytest.mark.parametrize("loss", [loss for loss in NAMED if loss.startswith("joint")])
def test_joint_losses_bring_two_members_to_the_same_wrong_class(loss: str) -> None:
    """Pushed away from the label each falls into a class of its own, and the tie-breaker saves the vote."""
    victim = planted_victim()
    settings = Settings("linf", 0.1, steps=60, step_size=0.01)
    assert not make_attack("bim-mean_probability", settings).run(victim, GREY, CAT, seeded())
    assert make_attack(f"bim-{loss}", settings).run(victim, GREY, CAT, seeded())
    victim.close()


def test_halved_it_asks_for_less_than_half_the_gradients_and_finds_the_same_class() -> None:
    calls = []
    for halve in (False, True):
        victim = planted_victim()
        settings = Settings("linf", 0.1, steps=60, step_size=0.01, halve=halve)
        assert make_attack("bim-joint_margin", settings).run(victim, GREY, CAT, seeded())
        victim.spent.gradient_calls = 0
        assert not make_attack("bim-joint_margin", replace(settings, eps=1e-4)).run(victim, GREY, CAT, seeded())
        calls.append(victim.spent.gradient_calls)
        victim.close()
    assert calls[1] < calls[0] / 2


def test_a_sure_member_is_not_forgotten_for_a_doubtful_one() -> None:
    victim = saturated_victim()
    settings = Settings("linf", 0.1, steps=60, step_size=0.01)
    assert not make_attack("bim-mean_probability", settings).run(victim, GREY, CAT, seeded())
    for loss in ("joint_margin", "joint_log_probability", "alone:low-a"):
        assert make_attack(f"bim-{loss}", settings).run(victim, GREY, CAT, seeded())
    victim.close()


def test_a_member_attacked_alone_falls_and_the_vote_need_not() -> None:
    victim = planted_victim()
    settings = Settings("linf", 0.1, steps=20)
    assert not make_attack("pgd-alone:low-a", settings).run(victim, GREY, CAT, seeded())
    single = victim.alone(0)
    found = make_attack("pgd", settings).run(single, GREY, CAT, seeded())[0].image[None]
    assert victim.predict(found).votes[:, 0].tolist() != [0, 0, 0]
    assert victim.predict(found).verdict.tolist() == [0]
    victim.close()
    single.close()


def test_a_member_that_is_not_there_is_answered_with_those_that_are(alike: Victim) -> None:
    attack = make_attack("pgd-alone:nobody", Settings())
    with pytest.raises(InvalidValue, match="expected one of alone:low-a, alone:low-b, alone:fp32, got 'alone:nobody'"):
        attack.run(alike, GREY, CAT, seeded())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.8)])
def test_what_is_found_is_in_the_ball_and_fools_what_is_served(
    toy: ToyBundle, victim: Victim, kind: str, norm: NormName, eps: float
) -> None:
    attack = make_attack(kind, Settings(norm, eps, steps=8, restarts=2))
    found = attack.run(victim, toy.images, toy.classes, seeded())
    assert found and list(found) == [each.source for each in found.values()]
    sources = list(found)
    images = np.stack([found[source].image for source in sources])
    assert images.min() >= 0 and images.max() <= 1 and images.dtype == np.float32
    assert NORMS[norm].size(images - toy.images[sources]).max() <= eps * (1 + 1e-5)
    assert (victim.predict(images).verdict != toy.classes[sources]).all()
    again = attack.run(victim, toy.images, toy.classes, seeded())
    assert all(np.array_equal(again[source].image, found[source].image) for source in sources)


def test_an_image_that_is_wrong_already_is_found_unchanged_and_costs_one_query(toy: ToyBundle, victim: Victim) -> None:
    labels = (toy.classes + 1) % 4
    found = make_attack("pgd", Settings(eps=0.1)).run(victim, toy.images, labels, seeded())
    assert sorted(found) == list(range(len(labels))) and {each.step for each in found.values()} == {0}
    assert all(np.array_equal(each.image, toy.images[source]) for source, each in found.items())
    assert (victim.spent.queries, victim.spent.gradient_calls) == (len(labels), 0)


def noisy(count: int, seed: int) -> Array:
    return np.asarray(GREY + 0.03 * np.random.default_rng(seed).uniform(-1, 1, (count, 1, 8, 8)), dtype=np.float32)


@pytest.mark.parametrize("kind", ["pgd", "apgd"])
@pytest.mark.parametrize("most_rows", [512, 5], ids=["at once", "in groups"])
def test_an_images_attack_does_not_depend_on_the_other_images(
    kind: str, most_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, labels = planted_victim(), np.zeros(6, np.int64)
    attack = make_attack(kind, Settings("linf", 0.1, steps=30, restarts=2))
    whole = attack.run(victim, noisy(6, seed=1), labels, seeded())
    others = noisy(6, seed=2)
    others[4] = noisy(6, seed=1)[4]
    monkeypatch.setattr(climb, "MOST_ROWS", most_rows)
    found = attack.run(victim, others, np.array([1, 0, 1, 0, 0, 0]), seeded())  # two of them are wrong already
    assert found[4].step == whole[4].step > 0
    np.testing.assert_allclose(found[4].image, whole[4].image, atol=1e-6)
    victim.close()


def test_only_so_many_trajectories_are_under_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole images at a time: 6 trajectories each, of which 2 images fit."""
    victim = planted_victim()
    asked: list[int] = []
    ask = victim.predict

    def noting(images: Array) -> Prediction:
        asked.append(len(images))
        return ask(images)

    monkeypatch.setattr(victim, "predict", noting)
    monkeypatch.setattr(climb, "MOST_ROWS", 13)
    images, labels = np.repeat(GREY, 5, axis=0), np.zeros(5, np.int64)
    make_attack("pgd", Settings("linf", 1e-3, steps=1, restarts=2)).run(victim, images, labels, seeded())
    assert asked == [5, 12, 12, 12, 12, 6, 6]
    victim.close()


def test_many_restarts_only_where_starts_are_random(alike: Victim) -> None:
    for kind, starts in (("pgd", 3), ("bim", 1), ("fgsm", 1)):
        alike.spent.queries = 0
        attack = make_attack(f"{kind}-mean_margin", Settings("linf", 1e-4, steps=1, restarts=3))
        attack.run(alike, GREY, CAT, seeded())
        assert alike.spent.queries == 1 + 2 * starts
        assert attack.parameters()["restarts"] == starts


def test_time_stops_the_attack(alike: Victim) -> None:
    attack = make_attack("pgd-mean_margin", Settings("linf", 1e-4, steps=100))
    assert not attack.run(alike, GREY, CAT, seeded(), out_of_time=lambda: True)
    assert alike.spent.queries == 2


def test_every_hyperparameter_is_told() -> None:
    attack = make_attack("apgd-targeted_dlr", Settings("l2", 0.5, steps=100, restarts=5))
    assert json.loads(json.dumps(attack.parameters())) == {
        "loss": "targeted_dlr",
        "norm": "l2",
        "eps": 0.5,
        "steps": 100,
        "step_size": 1.0,
        "random_start": True,
        "stepper": "adaptive",
        "decay": 0.0,
        "restarts": 5,
        "most_classes": 9,
        "halve_at": [],
    }
    assert (attack.name, attack.threat_model) == ("apgd-targeted_dlr", "white-box")


def test_a_member_without_a_gradient_graph_is_named() -> None:
    complete = planted_victim()
    victim = Victim(complete.ensemble, [None, *complete.ensemble.members[1:]])  # type: ignore[list-item]
    with pytest.raises(InvalidValue, match="member low-a has no gradient graph"):
        make_attack("pgd-mean_margin", Settings()).run(victim, GREY, CAT, seeded())
    make_attack("pgd-alone:low-b", Settings(steps=2)).run(victim, GREY, CAT, seeded())  # asks no gradient of low-a
    victim.close()
    complete.close()
