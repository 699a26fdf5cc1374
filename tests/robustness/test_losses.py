"""Losses: values and cotangents against torch, saturated members included."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from robustness.goals import ANY_OTHER, Goals
from robustness.losses import Loss, mean_probability, smallest_margin


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
    coalition = draw(arrays(np.bool_, (members, rows)))
    coalition[draw(st.integers(0, members - 1))] = True
    return Case(
        logits,
        np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=members, max_size=members))),
        Goals(np.arange(rows), label, np.where(shift == 0, ANY_OTHER, (label + shift) % classes), coalition),
    )


def check_direction(loss: Loss, case: Case, value: torch.Tensor, logits: torch.Tensor) -> None:
    """The loss has this value [B], and its cotangents are autograd's, each image's scaled to a largest entry of 1."""
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    values, cotangents = loss(case.logits, case.goals)
    np.testing.assert_allclose(values, value.detach().numpy(), rtol=1e-9)
    assert cotangents.dtype == np.float32
    for found, expected in zip(cotangents.swapaxes(0, 1), gradient.numpy().swapaxes(0, 1), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected / scale if scale > 0 else 0 * expected, atol=1e-6)


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
    check_direction(mean_probability(case.temperatures), case, value, logits)


@given(cases(distinct=True))
def test_smallest_margin_is_the_coalitions_least(case: Case) -> None:
    """Distinct logits leave no ties between rivals; ties between members are another test."""
    logits = torch.from_numpy(case.logits.astype(np.float64)).requires_grad_()
    least = []
    for row, (label, target) in enumerate(zip(case.goals.label, case.goals.target, strict=True)):
        margins = []
        for member in np.flatnonzero(case.goals.coalition[:, row]):
            z = logits[member, row]
            others = [z[k] for k in range(len(z)) if k != label]
            rival = torch.stack(others).max() if target == ANY_OTHER else z[int(target)]
            margins.append((rival - z[int(label)]) / case.temperatures[member])
        least.append(min(margins, key=torch.Tensor.item))
    check_direction(smallest_margin(case.temperatures), case, torch.stack(least), logits)


def goals(target: int, members: int = 1) -> Goals:
    return Goals(np.array([0]), np.array([0]), np.array([target]), np.ones((members, 1), dtype=bool))


@pytest.mark.parametrize("target", [ANY_OTHER, 1], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("gap", [100, 250, 600])
@pytest.mark.parametrize("members", [1, 3])
def test_a_saturated_member_still_has_a_direction(gap: float, target: int, members: int) -> None:
    """In float32 1 - softmax is 0 from a gap of 17 on, and the attack would see no gradient at all."""
    logits = np.tile(np.array([gap, 0, -1, -2], dtype=np.float32), (members, 1, 1))
    _, cotangents = mean_probability(np.ones(members))(logits, goals(target, members))
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


def test_of_two_equally_far_members_one_is_pushed() -> None:
    logits = np.zeros((2, 1, 3), np.float32)
    values, cotangents = smallest_margin(np.ones(2))(logits, goals(2, members=2))
    assert values.tolist() == [0]
    assert sorted(cotangents[:, 0].tolist()) == [[-1, 0, 1], [0, 0, 0]]
