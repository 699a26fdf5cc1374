"""Losses by name: which classes each is climbed towards, and what becomes of coalitions without a majority vote."""

import numpy as np
import pytest

from robustness.losses.goals import ANY_OTHER, Goals
from robustness.losses.loss_names import ALONE, LOSSES, TERMS, is_loss, make_loss
from robustness.losses.over_members import Loss
from robustness.victim import Victim
from runtime.errors import InvalidValue
from runtime.manifest import Vote
from tests.linear_victim import MAJORITY, linear_victim

LOGITS = np.random.default_rng(0).standard_normal((3, 6, 3)).astype(np.float32)
GOALS = Goals(np.arange(6), np.array([0, 0, 1, 1, 2, 2]), np.array([1, 2, 0, ANY_OTHER, 1, ANY_OTHER]))
NAMED = [name for name in LOSSES if not name.startswith(ALONE)]


def victim_of(vote: Vote) -> Victim:
    return linear_victim([[(0, 10, 0)] * 4] * 3, [(2, 0, 0)] * 3, vote)


def same(one: Loss, other: Loss) -> bool:
    (values, cotangents), (other_values, other_cotangents) = one(LOGITS, GOALS), other(LOGITS, GOALS)
    return np.array_equal(values, other_values) and np.array_equal(cotangents, other_cotangents)


@pytest.mark.parametrize("name", [*NAMED, "alone:fp32"])
def test_a_loss_is_climbed_to_each_class_if_it_is_targeted_or_joint(name: str) -> None:
    made = make_loss(name, victim_of(MAJORITY))
    assert made.every_class == name.startswith(("targeted", "joint"))
    values, cotangents = made.loss(LOGITS, GOALS)
    assert values.shape == (6,) and cotangents.shape == LOGITS.shape and np.isfinite(values).all()
    # Adding the same to all logits of a member changes nothing.
    np.testing.assert_allclose(cotangents.sum(axis=2), 0, atol=1e-6)


def test_names_mean_different_losses_unless_they_say_so() -> None:
    """The targeted form is the mean with other goals."""
    victim = victim_of(MAJORITY)
    different = [make_loss(name, victim).loss for name in NAMED if not name.startswith("targeted")]
    assert sum(same(one, other) for one in different for other in different) == len(different)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("tie_breaker", [None, "fp32"])
def test_with_an_average_the_joint_form_is_the_targeted_one(term: str, tie_breaker: str | None) -> None:
    victim = victim_of(Vote(rule="average", tie_breaker=tie_breaker))
    joint, targeted = (make_loss(f"{form}_{term}", victim) for form in ("joint", "targeted"))
    assert joint.every_class and same(joint.loss, targeted.loss)


def test_a_member_alone_is_found_by_its_name() -> None:
    _, cotangents = make_loss("alone:low-b", victim_of(MAJORITY)).loss(LOGITS, GOALS)
    assert cotangents.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["magic", "mean", "joint_", "joint_cross_entropy", "alone", "mean_margin_"])
def test_a_loss_that_does_not_exist_is_answered_with_those_that_do(name: str) -> None:
    assert not is_loss(name)
    with pytest.raises(InvalidValue, match=r"^loss: expected one of mean_probability, .*, alone:MEMBER, got"):
        make_loss(name, victim_of(MAJORITY))


@pytest.mark.parametrize("name", [*NAMED, "alone:anyone"])
def test_names_can_be_told_without_a_victim(name: str) -> None:
    assert is_loss(name)


def test_a_member_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(
        InvalidValue, match=r"^loss: expected one of alone:low-a, alone:low-b, alone:fp32, got 'alone:x'"
    ):
        make_loss("alone:x", victim_of(MAJORITY))
