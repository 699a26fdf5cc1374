"""Losses: values and cotangents against torch, saturated members included."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from robustness.coalitions import Coalitions, coalitions
from robustness.goals import ANY_OTHER, Goals, as_asked
from robustness.losses import NEGLIGIBLE, joint_margin, mean_probability


@dataclass
class Case:
    """Logits [M, B, K] of members with temperatures [M], and what is wanted of each of B trajectories."""

    logits: NDArray[np.float32]
    temperatures: NDArray[np.float64]
    goals: Goals


@st.composite
def cases(draw: st.DrawFn, *, distinct: bool = False) -> Case:
    members, rows, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(2, 5))
    # Small enough that autograd does not cancel either: what comes beyond is another test.
    elements = st.integers(-80, 80).map(lambda n: n / 32)
    logits = draw(arrays(np.float32, (members, rows, classes), elements=elements, unique=distinct))
    label = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    shift = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    return Case(
        logits,
        np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=members, max_size=members))),
        as_asked(label, np.where(shift == 0, ANY_OTHER, (label + shift) % classes)),
    )


@given(cases())
def test_mean_probability_is_autograds(case: Case) -> None:
    """d/d(logits) of the mean over members of softmax(z / T): the target's, or less the label's."""
    logits = torch.from_numpy(case.logits.astype(np.float64)).requires_grad_()
    probs = torch.softmax(logits / torch.from_numpy(case.temperatures)[:, None, None], dim=2).mean(dim=0)
    value = torch.stack(
        [
            -probs[row, label] if target == ANY_OTHER else probs[row, target]
            for row, (label, target) in enumerate(zip(case.goals.label, case.goals.target, strict=True))
        ]
    )
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    largest = np.abs(gradient.numpy()).max(axis=(0, 2), keepdims=True)
    found, cotangents = mean_probability(case.temperatures)(case.logits, case.goals)
    np.testing.assert_allclose(found, value.detach().numpy(), rtol=1e-9)
    assert cotangents.dtype == np.float32
    np.testing.assert_allclose(cotangents, gradient.numpy() / np.where(largest == 0, 1, largest), atol=1e-6)


@st.composite
def joint_cases(draw: st.DrawFn) -> tuple[Case, Coalitions, float]:
    """Distinct logits: between two equally likely rivals autograd and the loss may choose differently."""
    case = draw(cases(distinct=True))
    members = len(case.logits)
    return case, coalitions(members, draw(st.integers(0, members - 1))), draw(st.sampled_from([0.5, 2.0]))


@given(joint_cases())
def test_joint_margin_is_the_smooth_max_over_coalitions_of_smooth_minima(
    drawn: tuple[Case, Coalitions, float],
) -> None:
    """The value is that of the docstring's formula; a member's part of the gradient is autograd's, or left out."""
    case, groups, s = drawn
    logits = torch.from_numpy(case.logits.astype(np.float64)).requires_grad_()
    values = []
    for row, (label, target) in enumerate(zip(case.goals.label.tolist(), case.goals.target.tolist(), strict=True)):
        margins = []
        for z, temperature in zip(logits[:, row], case.temperatures, strict=True):
            others = torch.stack([z[k] for k in range(len(z)) if k != label])
            margins.append(((others.max() if target == ANY_OTHER else z[target]) - z[label]) / temperature)
        rows = groups.splits if target == ANY_OTHER else groups.majorities
        worth = [
            -s * torch.logsumexp(torch.stack([-margins[m] / s for m in np.flatnonzero(group)]), dim=0) for group in rows
        ]
        values.append(s * torch.logsumexp(torch.stack(worth) / s, dim=0))
    (gradient,) = torch.autograd.grad(torch.stack(values).sum(), logits)

    found, cotangents = joint_margin(case.temperatures, groups, s)(case.logits, case.goals)
    np.testing.assert_allclose(found, torch.stack(values).detach().numpy(), rtol=1e-9, atol=1e-9)
    assert cotangents.dtype == np.float32 and (np.abs(cotangents).max(axis=(0, 2)) == 1).all()
    scaled = gradient.numpy() / np.abs(gradient.numpy()).max(axis=(0, 2), keepdims=True)
    left_out = ~cotangents.any(axis=2)
    weights = np.abs(gradient.numpy()).max(axis=2) * case.temperatures[:, None]
    assert (weights[left_out] <= NEGLIGIBLE * (1 + 1e-6)).all()
    np.testing.assert_allclose(cotangents[~left_out], scaled[~left_out], atol=1e-6)


@pytest.mark.parametrize("gap", [100, 250, 600])
def test_the_member_that_is_farthest_away_is_pushed(gap: float) -> None:
    """Of the coalitions the one that lacks least, in it the member that lacks most, however far it is."""
    logits = np.array([[[gap, 0]], [[2 * gap, 0]], [[3 * gap, 0]]], dtype=np.float32)
    _, cotangents = joint_margin(np.ones(3), coalitions(3, tie_breaker=2))(logits, goals(1))
    assert cotangents[:, 0].tolist() == [[0, 0], [-1, 1], [0, 0]]


def goals(target: int) -> Goals:
    return as_asked(np.array([0]), np.array([target]))


@pytest.mark.parametrize("target", [ANY_OTHER, 1], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("gap", [100, 250, 600])
@pytest.mark.parametrize("members", [1, 3])
def test_a_saturated_member_still_has_a_direction(gap: float, target: int, members: int) -> None:
    """In float32 1 - softmax is 0 from a gap of 17 on, and the attack would see no gradient at all."""
    logits = np.tile(np.array([gap, 0, -1, -2], dtype=np.float32), (members, 1, 1))
    _, cotangents = mean_probability(np.ones(members))(logits, goals(target))
    if target == ANY_OTHER:  # the label goes down, the others up in proportion to their probabilities among themselves
        others = np.exp([0.0, -1.0, -2.0])
        expected = np.array([-1, *others / others.sum()])
    else:  # p_1 (1 - p_1) is p_1, and the label's share of what it takes away is all
        expected = np.array([-1, 1, 0, 0])
    np.testing.assert_allclose(cotangents, np.tile(expected, (members, 1, 1)), atol=1e-6)


def test_the_true_gradient_may_be_zero() -> None:
    """With one class there is nowhere to go: no division by zero."""
    _, cotangents = mean_probability(np.ones(1))(np.zeros((1, 1, 1), np.float32), goals(ANY_OTHER))
    assert not cotangents.any()
