"""Adaptive losses over all members: what an attack that knows the vote climbs.

A loss takes logits [M, B, K] and goals, and returns its values [B], larger being better for the attacker, and its
cotangents d(value)/d(logits) [M, B, K]. Only their direction matters, so each image's are scaled to a largest entry
of 1; they are computed in float64 without cancellation, because a saturated member's would vanish in float32.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustness.goals import ANY_OTHER, Goals

Logits = NDArray[np.float32]
Values = NDArray[np.float64]
Cotangents = NDArray[np.float32]
Loss = Callable[[Logits, Goals], tuple[Values, Cotangents]]


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


def smallest_margin(temperatures: NDArray[np.float64]) -> Loss:
    """The smallest of the coalition's margins z_t - z_y over the temperature: raised until all of it votes t.

    With the target ANY_OTHER, t is the likeliest other class of each member. Only the member that is farthest away has
    a gradient, so an iterate costs one gradient, however large the coalition.
    """

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        rows = np.arange(len(goals))
        rivals = logits.copy()
        rivals[:, rows, goals.label] = -np.inf
        target = np.where(goals.target == ANY_OTHER, rivals.argmax(axis=2), goals.target)
        members = np.arange(len(logits))[:, None]
        margins = (logits[members, rows, target].astype(np.float64) - logits[:, rows, goals.label]) / temperatures[
            :, None
        ]
        margins = np.where(goals.coalition, margins, np.inf)
        farthest = margins.argmin(axis=0)
        cotangents = np.zeros(logits.shape, dtype=np.float32)
        cotangents[farthest, rows, target[farthest, rows]] = 1
        cotangents[farthest, rows, goals.label] = -1
        return margins.min(axis=0), cotangents

    return loss


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    probs: NDArray[np.float64] = exponentials / exponentials.sum(axis=2, keepdims=True)
    return probs


def _unit(gradient: NDArray[np.float64]) -> Cotangents:
    """Each image's cotangents over its largest entry in size; 0 stays 0."""
    largest = np.abs(gradient).max(axis=(0, 2), keepdims=True)
    scaled: Cotangents = (gradient / np.where(largest > 0, largest, 1)).astype(np.float32)
    return scaled
