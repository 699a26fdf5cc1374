"""Adaptive losses over all members: what an attack that knows the vote climbs.

A loss takes logits [M, B, K] and goals, and returns its values [B], larger being better for the attacker, and its
cotangents d(value)/d(logits) [M, B, K]. Only their direction matters, so each image's are scaled to a largest entry
of 1; they are computed in float64 without cancellation, because a saturated member's would vanish in float32.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustness.coalitions import Coalitions
from robustness.goals import ANY_OTHER, Goals

Logits = NDArray[np.float32]
Values = NDArray[np.float64]
Cotangents = NDArray[np.float32]
Loss = Callable[[Logits, Goals], tuple[Values, Cotangents]]

NEGLIGIBLE = 1e-3
"""A member whose share of the gradient is smaller is not asked for it."""


def mean_probability(temperatures: NDArray[np.float64]) -> Loss:
    """The mean over the members of the target's probability, or of 1 - the label's (Tramer et al., arXiv 2002.08347).

    `temperatures` [M]: those with which the served members turn logits into probabilities.
    """

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        probs = _softmax(logits.astype(np.float64) / temperatures[:, None, None])
        wanted = np.where(goals.target == ANY_OTHER, goals.label, goals.target)
        sign = np.where(goals.target == ANY_OTHER, -1.0, 1.0)
        rows = np.arange(len(goals))
        chosen = probs[:, rows, wanted]
        others = probs.copy()
        others[:, rows, wanted] = 0
        gradient = -chosen[:, :, None] * others  # d p_c / d z_j = -p_c p_j for j != c, and p_c (1 - p_c) for c
        gradient[:, rows, wanted] = chosen * others.sum(axis=2)
        gradient *= sign[None, :, None] / temperatures[:, None, None]
        return sign * chosen.mean(axis=0), _unit(gradient)

    return loss


def joint_margin(temperatures: NDArray[np.float64], groups: Coalitions, smoothness: float = 2.0) -> Loss:
    """How near the members are to turning the vote together: a smooth max over coalitions of a smooth min in each.

    A member's margin is z_t - z_y over its temperature; with the target ANY_OTHER, t is its likeliest other class and
    the coalitions are the splits, else the majorities. With s the smoothness, a coalition S is worth
    v(S) = -s log sum_{m in S} exp(-margin_m / s), and the value is s log sum_S exp(v(S) / s). It rises as long as any
    coalition can come nearer, so it neither stops at members in different wrong classes nor jumps to and fro between
    members as a hard minimum does.
    """

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        rows = np.arange(len(goals))
        anywhere = goals.target == ANY_OTHER
        rivals = logits.copy()
        rivals[:, rows, goals.label] = -np.inf
        target = np.where(anywhere, rivals.argmax(axis=2), goals.target)
        reached = np.take_along_axis(logits, target[:, :, None], axis=2)[:, :, 0].astype(np.float64)
        scaled = (reached - logits[:, rows, goals.label]) / (temperatures[:, None] * smoothness)
        values, weights = np.empty(len(goals)), np.empty(scaled.shape)
        for part, members in ((anywhere, groups.splits), (~anywhere, groups.majorities)):
            values[part], weights[:, part] = _nearest(scaled[:, part], members)
        weights = np.where(weights < NEGLIGIBLE, 0, weights / temperatures[:, None])
        cotangents = np.zeros(logits.shape)
        np.put_along_axis(cotangents, target[:, :, None], weights[:, :, None], axis=2)
        cotangents[:, rows, goals.label] = -weights
        return smoothness * values, _unit(cotangents)

    return loss


def _nearest(margins: Values, members: NDArray[np.bool_]) -> tuple[Values, Values]:
    """log sum_S 1 / sum_{m in S} exp(-margin_m), over coalitions [S, M], of margins [M, B]; and its gradient [M, B]."""
    inside = np.where(members[:, :, None], -margins[None], -np.inf)
    worth = -_log_sum_exp(inside, axis=1)
    value = _log_sum_exp(worth, axis=0)
    chosen = np.exp(worth - value)  # [S, B], sums to 1
    within = np.exp(inside + worth[:, None])  # [S, M, B], sums to 1 over each coalition
    return value, (chosen[:, None] * within).sum(axis=0)


def _log_sum_exp(x: Values, axis: int) -> Values:
    top = x.max(axis=axis, keepdims=True)
    total: Values = np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)
    return total


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    probs: NDArray[np.float64] = exponentials / exponentials.sum(axis=2, keepdims=True)
    return probs


def _unit(gradient: NDArray[np.float64]) -> Cotangents:
    """Each image's cotangents over its largest entry in size; 0 stays 0."""
    largest = np.abs(gradient).max(axis=(0, 2), keepdims=True)
    scaled: Cotangents = (gradient / np.where(largest > 0, largest, 1)).astype(np.float32)
    return scaled
