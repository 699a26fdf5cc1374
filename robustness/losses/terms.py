"""Terms: how near one member is to what the attacker wants of it, of which losses are made.

What is wanted is the goal's target, or for ANY_OTHER a class that is not the label. A term takes logits over
temperature, float64 [M, B, K], and goals, and returns its values [M, B], larger being better for the attacker, and
their gradients [M, B, K], computed without cancellation: a saturated member's are small, but not 0.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustness.losses.goals import ANY_OTHER, Goals

Floats = NDArray[np.float64]
Term = Callable[[Floats, Goals], tuple[Floats, Floats]]

TINY = 1e-12


def probability(logits: Floats, goals: Goals) -> tuple[Floats, Floats]:
    """The probability of what is wanted: p_t, or 1 - p_y summed from the other classes."""
    probs, wanted, anywhere = np.exp(log_softmax(logits)), _named(goals), _anywhere(goals)
    others = _without(probs, wanted, 0)
    chosen, rest = _of(probs, wanted), others.sum(axis=2)
    gradient = -chosen[:, :, None] * others  # d p_c / d z_j = -p_c p_j for j != c, and p_c (1 - p_c) for c
    _put(gradient, wanted, chosen * rest)
    return np.where(anywhere, rest, chosen), np.where(anywhere[:, None], -gradient, gradient)


def log_probability(logits: Floats, goals: Goals) -> tuple[Floats, Floats]:
    """The logarithm of `probability`, whose gradient does not vanish however sure the member is."""
    wanted, anywhere = _named(goals), _anywhere(goals)
    logs = log_softmax(logits)
    probs = np.exp(logs)
    others = _without(logs, wanted, -np.inf)
    log_rest = log_sum_exp(others, axis=2)
    rest = np.exp(log_rest)
    to_target = -_without(probs, wanted, 0)  # d log p_t / d z_j = -p_j for j != t, and 1 - p_t for t
    _put(to_target, wanted, rest)
    # d log(1 - p_y) / d z_j = p_y p_j / (1 - p_y) for j != y, and -p_y for y
    chosen = _of(probs, wanted)
    away = chosen[:, :, None] * np.exp(others - log_rest[:, :, None])
    _put(away, wanted, -chosen)
    return np.where(anywhere, log_rest, _of(logs, wanted)), np.where(anywhere[:, None], away, to_target)


def margin(logits: Floats, goals: Goals) -> tuple[Floats, Floats]:
    """z_t - z_y, t being the likeliest other class for ANY_OTHER."""
    target = _rival(logits, goals)
    gradient = np.zeros(logits.shape)
    _put(gradient, target, 1)
    _put(gradient, goals.label, -1)
    return _of(logits, target) - _of(logits, goals.label), gradient


def dlr(logits: Floats, goals: Goals) -> tuple[Floats, Floats]:
    """The difference of logits ratio, (z_t - z_y) / (z_1 - z_3), for a target over z_1 - (z_3 + z_4) / 2, with z_1,
    z_2, ... the logits in falling order (Croce & Hein, arXiv 2003.01690, equations 6 and 7).

    Of three classes the third stands for the fourth; of two the ratio would be constant, so it is the margin itself.
    """
    margins, slope = margin(logits, goals)
    if logits.shape[2] < 3:
        return margins, slope
    order = np.argsort(-logits, axis=2, kind="stable")
    first, third, fourth = (order[:, :, min(place, logits.shape[2] - 1)] for place in (0, 2, 3))
    fourth = np.where(_anywhere(goals), third, fourth)
    spread = _of(logits, first) - (_of(logits, third) + _of(logits, fourth)) / 2 + TINY
    ratio = margins / spread
    change = np.zeros(logits.shape)
    for place, share in ((first, 1.0), (third, -0.5), (fourth, -0.5)):
        _put(change, place, _of(change, place) + share)
    return ratio, (slope - ratio[:, :, None] * change) / spread[:, :, None]


def nearness(logits: Floats, goals: Goals) -> tuple[Floats, Floats]:
    """A soft vote, sigmoid(margin / 2): its gradient weighs a member by how near it is to falling, and one that has
    fallen, or is far from it, hardly at all, as MORA reweighs members (Yu et al., arXiv 2211.08008)."""
    margins, slope = margin(logits, goals)
    half = np.exp(-np.abs(margins) / 2)
    values = np.where(margins < 0, half, 1) / (1 + half)
    return values, slope * (half / np.square(1 + half) / 2)[:, :, None]


def log_softmax(logits: Floats) -> Floats:
    """log softmax over the last axis."""
    top = logits - logits.max(axis=2, keepdims=True)
    logs: Floats = top - np.log(np.exp(top).sum(axis=2, keepdims=True))
    return logs


def log_sum_exp(x: Floats, axis: int) -> Floats:
    """log sum exp(x) over an axis, without overflow."""
    top = x.max(axis=axis, keepdims=True)
    total: Floats = np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)
    return total


def _anywhere(goals: Goals) -> NDArray[np.bool_]:
    anywhere: NDArray[np.bool_] = goals.target == ANY_OTHER
    return anywhere


def _named(goals: Goals) -> NDArray[np.int64]:
    """The class [B] that a goal is about: the target, or the label to leave."""
    return np.where(_anywhere(goals), goals.label, goals.target)


def _rival(logits: Floats, goals: Goals) -> NDArray[np.int64]:
    """The target [M, B], for ANY_OTHER each member's likeliest other class."""
    return np.where(_anywhere(goals), _without(logits, goals.label, -np.inf).argmax(axis=2), goals.target)


def _of(array: Floats, classes: NDArray[np.int64]) -> Floats:
    """The entries [M, B] of classes [B] or [M, B]."""
    members, rows, _ = array.shape
    chosen: Floats = array[np.arange(members)[:, None], np.arange(rows), classes]
    return chosen


def _put(array: Floats, classes: NDArray[np.int64], values: Floats | float) -> None:
    members, rows, _ = array.shape
    array[np.arange(members)[:, None], np.arange(rows), classes] = values


def _without(array: Floats, classes: NDArray[np.int64], value: float) -> Floats:
    """A copy in which the entries of these classes are `value`."""
    copy = array.copy()
    _put(copy, classes, value)
    return copy
