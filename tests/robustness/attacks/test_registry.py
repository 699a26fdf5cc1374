"""Attacks by name."""

import pytest

from robustness.attacks.gradient import KINDS
from robustness.attacks.registry import FACTORIES, Settings, attack_names, make_attack
from robustness.loss_names import LOSSES
from runtime.errors import InvalidValue


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_can_be_made_and_says_its_name(name: str) -> None:
    attack = make_attack(name, Settings())
    assert attack.name.startswith(name)
    assert attack.parameters()


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


def test_without_a_loss_it_is_the_joint_margin() -> None:
    assert make_attack("pgd", Settings()).name == "pgd-joint_margin"
