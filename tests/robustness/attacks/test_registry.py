"""Attacks by name."""

import pytest

from robustness.attacks.gradient import KINDS
from robustness.attacks.registry import FACTORIES, Settings, attack_names, make_attack
from robustness.losses.loss_names import LOSSES
from runtime.errors import InvalidValue


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_can_be_made_and_says_its_name(name: str) -> None:
    attack = make_attack(name, Settings(norm="l2"))
    assert attack.name.startswith(name)
    assert attack.parameters()


def test_settings_reach_the_attacks_without_a_choice_of_losses() -> None:
    settings = Settings("l2", 0.5, steps=7, step_size=0.03)
    wanted = {"cw-l2": "steps", "deepfool": "steps", "square": "queries", "hopskipjump": "queries"}
    assert set(wanted) == set(FACTORIES)
    for name, steps in wanted.items():
        parameters = make_attack(name, settings).parameters()
        assert (parameters["eps"], parameters[steps]) == (0.5, 7)
    assert make_attack("cw-l2", settings).parameters()["learning_rate"] == 0.03


def test_cw_is_for_l2_only() -> None:
    with pytest.raises(InvalidValue, match=r"^norm: expected l2 for cw-l2, got 'linf'$"):
        make_attack("cw-l2", Settings("linf"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_attack_climbs_every_loss(kind: str) -> None:
    for loss in LOSSES:
        attack = make_attack(f"{kind}-{loss}", Settings())
        assert attack.name == f"{kind}-{loss}" and attack.parameters()["loss"] == loss


@pytest.mark.parametrize("name", ["magic", "", "PGD", "pgd-", "pgd-magic", "square-mean_margin", "-mean_margin"])
def test_an_attack_that_does_not_exist_is_answered_with_those_that_do(name: str) -> None:
    with pytest.raises(InvalidValue, match=r"^attack: expected one of fgsm, bim, mim, pgd, apgd") as refused:
        make_attack(name, Settings())
    for known in (*KINDS, *FACTORIES, *LOSSES):
        assert known in str(refused.value)
    assert str(refused.value).endswith(f"got {name!r}")


@pytest.mark.parametrize("loss", ["joint_margin", "targeted_cross_entropy", "mean_margin", "alone:fp32"])
def test_only_what_is_climbed_to_every_class_is_halved(loss: str) -> None:
    parameters = make_attack(f"apgd-{loss}", Settings(steps=40, halve=True)).parameters()
    assert parameters["halve_at"] == ([4, 8, 14] if loss in ("joint_margin", "targeted_cross_entropy") else [])
    assert make_attack(f"apgd-{loss}", Settings(steps=40)).parameters()["halve_at"] == []


def test_without_a_loss_it_is_the_joint_margin() -> None:
    assert make_attack("pgd", Settings()).name == "pgd-joint_margin"
