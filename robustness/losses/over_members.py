"""Adaptive losses over all members: what an attack that knows the vote climbs.

A loss takes logits [M, B, K] and goals, and returns its values [B], larger being better for the attacker, and its
cotangents d(value)/d(logits) [M, B, K]. Only their direction matters, so each image's are scaled to a largest entry
of 1; they are computed in float64 without cancellation, because a saturated member's would vanish in float32.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustness.losses.coalitions import Coalitions
from robustness.losses.goals import ANY_OTHER, Goals
from robustness.losses.terms import Floats, Term, log_softmax, log_sum_exp, margin, probability

Logits = NDArray[np.float32]
Values = Floats
Cotangents = NDArray[np.float32]
Loss = Callable[[Logits, Goals], tuple[Values, Cotangents]]

NEGLIGIBLE = 1e-3
"""A member whose share of the gradient is smaller is not asked for it."""


def mean(term: Term, temperatures: Floats) -> Loss:
    """The mean of a term over the members. `temperatures` [M]: those with which they turn logits into probabilities."""

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        values, gradient = term(logits / temperatures[:, None, None], goals)
        return values.mean(axis=0), _unit(gradient / temperatures[:, None, None])

    return loss


def joint(term: Term, temperatures: Floats, groups: Coalitions, smoothness: float) -> Loss:
    """How near the members are to turning the vote together: a smooth max over coalitions of a smooth min in each.

    With the target ANY_OTHER the coalitions are the splits, else the majorities. With s the smoothness, in units of
    the term, a coalition S is worth v(S) = -s log sum_{m in S} exp(-term_m / s), and the value is
    s log sum_S exp(v(S) / s). It rises as long as any coalition can come nearer, so it neither stops at members in
    different wrong classes nor jumps to and fro between members as a hard minimum does.
    """

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        terms, gradient = term(logits / temperatures[:, None, None], goals)
        anywhere = goals.target == ANY_OTHER
        values, weights = np.empty(len(goals)), np.empty(terms.shape)
        for part, members in ((anywhere, groups.splits), (~anywhere, groups.majorities)):
            values[part], weights[:, part] = nearest(terms[:, part] / smoothness, members)
        weights = np.where(weights < NEGLIGIBLE, 0, weights / temperatures[:, None])
        return smoothness * values, _unit(weights[:, :, None] * gradient)

    return loss


def mean_probability(temperatures: Floats) -> Loss:
    """The mean over members of the target's probability, or of 1 - the label's (Tramer et al., arXiv 2002.08347)."""
    return mean(probability, temperatures)


def cross_entropy(temperatures: Floats) -> Loss:
    """The cross entropy of the label and the mean probability, or less that of the target: -log p_y, or log p_t.

    A growing function of `mean_probability`, so an attack takes the same steps on either.
    """

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        values, cotangents = mean_probability(temperatures)(logits, goals)
        wanted = np.where(goals.target == ANY_OTHER, goals.label, goals.target)
        logs = log_softmax(logits / temperatures[:, None, None])[:, np.arange(len(goals)), wanted]
        log_mean = log_sum_exp(logs, axis=0) - np.log(len(logs))
        # Near p_y = 1 the logarithm would cancel: there it is log(1 - x) of the x that is left.
        left = -np.log1p(-np.minimum(values, 0.5))
        return np.where(goals.target == ANY_OTHER, np.where(values < 0.5, left, -log_mean), log_mean), cotangents

    return loss


def alone(member: int) -> Loss:
    """The margin of one member's logits, whatever the others say."""

    def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
        values, gradient = margin(logits[member : member + 1].astype(np.float64), goals)
        cotangents = np.zeros(logits.shape, np.float32)
        cotangents[member] = gradient[0]
        return values[0], cotangents

    return loss


def nearest(terms: Values, members: NDArray[np.bool_]) -> tuple[Values, Values]:
    """log sum_S 1 / sum_{m in S} exp(-term_m), over coalitions [S, M], of terms [M, B]; and its gradient [M, B]."""
    inside = np.where(members[:, :, None], -terms[None], -np.inf)
    worth = -log_sum_exp(inside, axis=1)
    value = log_sum_exp(worth, axis=0)
    chosen = np.exp(worth - value)  # [S, B], sums to 1
    within = np.exp(inside + worth[:, None])  # [S, M, B], sums to 1 over each coalition
    return value, (chosen[:, None] * within).sum(axis=0)


def _unit(gradient: Floats) -> Cotangents:
    """Each image's cotangents over its largest entry in size; 0 stays 0."""
    largest = np.abs(gradient).max(axis=(0, 2), keepdims=True)
    scaled: Cotangents = (gradient / np.where(largest > 0, largest, 1)).astype(np.float32)
    return scaled
