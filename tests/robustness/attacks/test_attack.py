"""What every attack keeps to that minimises a norm or only asks; the gradient family has tests of its own."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from robustness.attacks.attack import Attack, Found
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.hopskipjump import HopSkipJump
from robustness.attacks.square import Square
from robustness.norms import NORMS, NormName
from robustness.victim import Victim
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.errors import InvalidValue
from tests.toy_bundle import ToyBundle


@dataclass(frozen=True)
class Case:
    """An attack, and the norm and eps that it is bound to."""

    attack: Attack
    norm: NormName
    eps: float


CASES = [
    Case(CarliniWagner(eps=0.7, search_steps=3, steps=25, learning_rate=0.1), "l2", 0.7),
    Case(DeepFool("l2", eps=0.7), "l2", 0.7),
    Case(DeepFool("linf", eps=0.12), "linf", 0.12),
    Case(Square("l2", 0.9, queries=100), "l2", 0.9),
    Case(Square("linf", 0.14, queries=100), "linf", 0.14),
    Case(HopSkipJump("l2", 0.9, queries=500), "l2", 0.9),
    Case(HopSkipJump("linf", 0.14, queries=500), "linf", 0.14),
]
every_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.attack.name}-{case.norm}" for case in CASES])


def run(case: Case, victim: Victim, toy: ToyBundle, count: int, seed: int = 0) -> dict[int, Found]:
    return case.attack.run(victim, toy.images[:count], toy.classes[:count], np.random.default_rng(seed))


@every_case
def test_what_is_found_is_an_image_within_eps_that_the_served_vote_gets_wrong(
    case: Case, victim: Victim, toy: ToyBundle
) -> None:
    found = run(case, victim, toy, 12)
    assert 0 < len(found) < 12, "the case should tell images apart"
    images, sources = np.stack([each.image for each in found.values()]), list(found)
    assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
    assert NORMS[case.norm].size(images - toy.images[sources]).max() <= case.eps * (1 + 1e-5)
    assert sources == [each.source for each in found.values()]
    served = Ensemble.of_bundle(load_bundle(toy.folder))
    assert (served.predict(images).verdict != toy.classes[sources]).all()
    served.close()


@every_case
def test_what_is_found_does_not_depend_on_the_other_images(case: Case, victim: Victim, toy: ToyBundle) -> None:
    many, few = run(case, victim, toy, 9), run(case, victim, toy, 4)
    assert sorted(few) == sorted(source for source in many if source < 4)
    for source, each in few.items():
        np.testing.assert_allclose(each.image, many[source].image, atol=1e-4)
        assert each.step == many[source].step


@every_case
def test_an_image_that_is_wrong_unchanged_is_found_as_it_is(case: Case, victim: Victim, toy: ToyBundle) -> None:
    found = case.attack.run(victim, toy.images[:3], (toy.classes[:3] + 1) % 4, np.random.default_rng(0))
    assert {source: each.step for source, each in found.items()} == {0: 0, 1: 0, 2: 0}
    assert all(np.array_equal(each.image, toy.images[source]) for source, each in found.items())


@every_case
def test_time_stops_it(case: Case, victim: Victim, toy: ToyBundle) -> None:
    arguments = victim, toy.images[:2], toy.classes[:2], np.random.default_rng(0)
    case.attack.run(*arguments, out_of_time=lambda: True)
    assert victim.spent.queries <= 2 * 60


@every_case
def test_only_a_white_box_attack_needs_gradients(case: Case, toy: ToyBundle) -> None:
    victim = Victim(Ensemble.of_bundle(load_bundle(toy.folder)), [None] * 3)
    if case.attack.threat_model == "white-box":
        with pytest.raises(InvalidValue, match="gradient"):
            run(case, victim, toy, 4)
    else:
        assert run(case, victim, toy, 12)
        assert case.attack.threat_model in ("black-box-score", "black-box-label")
    victim.close()


@every_case
def test_parameters_are_json_and_name_the_bounds(case: Case) -> None:
    parameters = case.attack.parameters()
    assert json.loads(json.dumps(parameters)) == parameters
    assert parameters["eps"] == case.eps and parameters.get("norm", "l2") == case.norm


def test_no_images_find_nothing(victim: Victim, toy: ToyBundle) -> None:
    for case in CASES:
        assert run(case, victim, toy, 0) == {}
