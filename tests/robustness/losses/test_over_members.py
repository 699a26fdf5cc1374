"""Losses: values and cotangents against torch, saturated members included."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from robustness.losses import terms
from robustness.losses.coalitions import Coalitions, coalitions
from robustness.losses.goals import ANY_OTHER, Goals, as_asked
from robustness.losses.over_members import (
    NEGLIGIBLE,
    Loss,
    alone,
    cross_entropy,
    joint,
    mean,
    mean_probability,
)
from robustness.losses.terms import Term


@dataclass
class Case:
    """Logits [M, B, K] of members with temperatures [M], and what is wanted of each of B trajectories."""

    logits: NDArray[np.float32]
    temperatures: NDArray[np.float64]
    goals: Goals


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Distinct logits: between two equally likely rivals autograd and the loss may choose differently."""
    members, rows, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(2, 6))
    # Small enough that autograd does not cancel either: what comes beyond is another test.
    elements = st.integers(-160, 160).map(lambda n: n / 64)
    logits = draw(arrays(np.float32, (members, rows, classes), elements=elements, unique=True))
    label = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    shift = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    return Case(
        logits,
        np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=members, max_size=members))),
        as_asked(label, np.where(shift == 0, ANY_OTHER, (label + shift) % classes)),
    )


def rival(z: Tensor, label: int, target: int) -> Tensor:
    others = torch.stack([z[k] for k in range(len(z)) if k != label])
    return others.max() if target == ANY_OTHER else z[target]


def plain_probability(z: Tensor, label: int, target: int) -> Tensor:
    p = torch.softmax(z, dim=0)
    return 1 - p[label] if target == ANY_OTHER else p[target]


def plain_margin(z: Tensor, label: int, target: int) -> Tensor:
    return rival(z, label, target) - z[label]


def plain_dlr(z: Tensor, label: int, target: int) -> Tensor:
    """As AutoAttack has it, with the last class there is in place of the fourth."""
    if len(z) == 2:
        return plain_margin(z, label, target)
    down = z.sort(descending=True).values
    fourth = down[2] if target == ANY_OTHER else down[min(3, len(z) - 1)]
    return plain_margin(z, label, target) / (down[0] - (down[2] + fourth) / 2 + 1e-12)


PlainTerm = Callable[[Tensor, int, int], Tensor]
PLAIN: list[tuple[Term, PlainTerm]] = [
    (terms.probability, plain_probability),
    (terms.log_probability, lambda z, y, t: plain_probability(z, y, t).log()),
    (terms.margin, plain_margin),
    (terms.dlr, plain_dlr),
    (terms.nearness, lambda z, y, t: torch.sigmoid(plain_margin(z, y, t) / 2)),
]
each_term = pytest.mark.parametrize(("term", "plain"), PLAIN, ids=lambda value: getattr(value, "__name__", ""))


def plain_terms(case: Case, plain: PlainTerm) -> tuple[Tensor, list[list[Tensor]]]:
    """Logits that gradients are wanted of, and the term [B][M]."""
    logits = torch.from_numpy(case.logits.astype(np.float64)).requires_grad_()
    of = [
        [plain(z / t, label, target) for z, t in zip(logits[:, row], case.temperatures, strict=True)]
        for row, (label, target) in enumerate(zip(case.goals.label.tolist(), case.goals.target.tolist(), strict=True))
    ]
    return logits, of


def gradient_of(values: list[Tensor], logits: Tensor) -> NDArray[np.float64]:
    (gradient,) = torch.autograd.grad(torch.stack(values).sum(), logits)
    found: NDArray[np.float64] = gradient.numpy()
    return found


def scaled(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(gradient).max(axis=(0, 2), keepdims=True)
    unit: NDArray[np.float64] = gradient / np.where(largest == 0, 1, largest)
    return unit


def assert_is(loss: Loss, case: Case, values: list[Tensor], gradient: NDArray[np.float64]) -> None:
    found, cotangents = loss(case.logits, case.goals)
    np.testing.assert_allclose(found, [float(value.detach()) for value in values], rtol=1e-9, atol=1e-12)
    assert cotangents.dtype == np.float32
    # A member whose difference of logits ratio is 1 cannot get any farther: what is left of its gradient is rounding.
    clear = np.abs(gradient).max(axis=(0, 2)) > 1e-9
    np.testing.assert_allclose(cotangents[:, clear], scaled(gradient)[:, clear], atol=1e-6)


@each_term
@given(cases())
def test_the_mean_of_a_term_is_autograds(term: Term, plain: PlainTerm, case: Case) -> None:
    logits, of = plain_terms(case, plain)
    values = [torch.stack(row).mean() for row in of]
    assert_is(mean(term, case.temperatures), case, values, gradient_of(values, logits))


@given(cases())
def test_cross_entropy_is_torchs_of_the_mean_probability(case: Case) -> None:
    logits = torch.from_numpy(case.logits.astype(np.float64)).requires_grad_()
    probs = torch.softmax(logits / torch.from_numpy(case.temperatures)[:, None, None], dim=2).mean(dim=0)
    values = [
        torch.nn.functional.nll_loss(p.log()[None], torch.tensor([label if target == ANY_OTHER else target]))
        * (1 if target == ANY_OTHER else -1)
        for p, label, target in zip(probs, case.goals.label.tolist(), case.goals.target.tolist(), strict=True)
    ]
    assert_is(cross_entropy(case.temperatures), case, values, gradient_of(values, logits))


@given(cases(), st.integers(0, 3))
def test_a_member_alone_is_pushed_by_its_own_margin(case: Case, number: int) -> None:
    member = number % len(case.logits)
    logits, of = plain_terms(Case(case.logits, np.ones(len(case.logits)), case.goals), plain_margin)
    values = [row[member] for row in of]
    assert_is(alone(member), case, values, gradient_of(values, logits))


@each_term
@given(cases(), st.integers(0, 3), st.sampled_from([0.1, 2.0]))
def test_joint_is_the_smooth_max_over_coalitions_of_smooth_minima(
    term: Term, plain: PlainTerm, case: Case, number: int, s: float
) -> None:
    """The value is that of the docstring's formula; a member's part of the gradient is autograd's, or left out."""
    members = len(case.logits)
    groups: Coalitions = coalitions(members, number % members)
    logits, of = plain_terms(case, plain)
    values, weights = [], np.zeros((members, len(case.goals)))
    for index, (row, target) in enumerate(zip(of, case.goals.target.tolist(), strict=True)):
        rows = groups.splits if target == ANY_OTHER else groups.majorities
        worth = [
            -s * torch.logsumexp(torch.stack([-row[m] / s for m in np.flatnonzero(group)]), dim=0) for group in rows
        ]
        values.append(s * torch.logsumexp(torch.stack(worth) / s, dim=0))
        asked = torch.autograd.grad(values[-1], row, retain_graph=True, allow_unused=True)
        weights[:, index] = [0 if weight is None else float(weight) for weight in asked]
    kept = np.where(weights[:, :, None] < NEGLIGIBLE, 0, gradient_of(values, logits))
    on_the_edge = np.abs(weights - NEGLIGIBLE) < 1e-9
    if not on_the_edge.any():
        assert_is(joint(term, case.temperatures, groups, s), case, values, kept)


@pytest.mark.parametrize("gap", [100, 250, 600])
def test_the_member_that_is_farthest_away_is_pushed(gap: float) -> None:
    """Of the coalitions the one that lacks least, in it the member that lacks most, however far it is."""
    logits = np.array([[[gap, 0]], [[2 * gap, 0]], [[3 * gap, 0]]], dtype=np.float32)
    _, cotangents = joint(terms.margin, np.ones(3), coalitions(3, tie_breaker=2), 2.0)(logits, goals(1))
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


@each_term
@pytest.mark.parametrize("target", [ANY_OTHER, 1], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("gap", [30, 600])
def test_a_saturated_members_loss_tells_nearer_from_farther(
    term: Term, plain: PlainTerm, target: int, gap: float
) -> None:
    """An attack that looks whether its loss rose, or which trajectory is ahead, must see it; and which way to go."""
    near, far = ([[[gap + more, 0, -1, -2]]] * 3 for more in (0, 0.5))
    losses = [mean(term, np.ones(3)), cross_entropy(np.ones(3))]
    if gap < 100 or term not in (terms.probability, terms.nearness):  # the exponentials of 1e-261 and 0 are the same
        losses.append(joint(term, np.ones(3), coalitions(3, 2), 0.1))
    for loss in losses:
        (ahead, cotangents), (behind, _) = (loss(np.array(z, dtype=np.float32), goals(target)) for z in (near, far))
        assert ahead[0] > behind[0]
        assert (cotangents[:, 0, 0] < 0).any() and (cotangents[:, 0, 1] > 0).any()


def test_nearness_weighs_members_by_how_near_they_are() -> None:
    """The one that has fallen far, and the one that is far from it, count for less than the one at the border."""
    logits = np.array([[[-9, 0]], [[1, 0]], [[14, 0]]], dtype=np.float32)
    _, cotangents = mean(terms.nearness, np.ones(3))(logits, goals(ANY_OTHER))
    fallen, near, far = cotangents[:, 0, 1]
    assert near == 1 and 0 < far < fallen < 0.1


def test_the_true_gradient_may_be_zero() -> None:
    """With one class there is nowhere to go: no division by zero."""
    _, cotangents = mean_probability(np.ones(1))(np.zeros((1, 1, 1), np.float32), goals(ANY_OTHER))
    assert not cotangents.any()
