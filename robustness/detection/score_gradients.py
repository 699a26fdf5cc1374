"""Gradients of the detection scores through the members' logits, for an attacker who knows the detector."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.detection import (
    TINY,
    Floats,
    Mask,
    Scorer,
    confidence_gap,
    favourite,
    jensen_shannon,
    kullback_leibler,
    margin_gap,
)
from runtime.manifest import ScoreName

ScoreGradient = Callable[[Floats, Mask], tuple[Floats, Floats]]
"""From log probs [M, N, K], and which members are of full precision [M], to the score [N] and d(score)/d(logits over
temperature) [M, N, K]."""


def jensen_shannon_gradient(log_probs: Floats, full: Mask) -> tuple[Floats, Floats]:
    """With r = log p - log mean p, which is what the divergence gains by p: p (r - sum p r) / (M log M)."""
    probs = np.exp(log_probs)
    ratio = log_probs - np.log(np.maximum(probs.mean(axis=0), TINY))
    gradient = through_softmax(ratio, probs) / (len(probs) * np.log(len(probs)))
    return jensen_shannon(log_probs, full), gradient


def kullback_leibler_gradient(log_probs: Floats, full: Mask) -> tuple[Floats, Floats]:
    """Low precision: p (r - sum p r) with r = log p - mean log q. Full precision: q - mean p. Over their numbers."""
    probs = np.exp(log_probs)
    gradient = np.empty_like(probs)
    ratio = log_probs[~full] - log_probs[full].mean(axis=0)
    gradient[~full] = through_softmax(ratio, probs[~full]) / (~full).sum()
    gradient[full] = (probs[full] - probs[~full].mean(axis=0)) / full.sum()
    return kullback_leibler(log_probs, full), gradient


def confidence_gap_gradient(log_probs: Floats, full: Mask) -> tuple[Floats, Floats]:
    """With the class held, whose change makes the score jump."""
    probs = np.exp(log_probs)
    return confidence_gap(log_probs, full), through_softmax(_gap_slope(probs, favourite(probs), full) / 2, probs)


def margin_gap_gradient(log_probs: Floats, full: Mask) -> tuple[Floats, Floats]:
    """With the class held, too; margins of log probs are those of logits."""
    return margin_gap(log_probs, full), _gap_slope(log_probs, favourite(np.exp(log_probs)), full)


SCORE_GRADIENTS: dict[ScoreName, ScoreGradient] = {
    "jensen_shannon": jensen_shannon_gradient,
    "kullback_leibler": kullback_leibler_gradient,
    "disagreement": jensen_shannon_gradient,  # its own is 0 wherever there is one: the smooth score stands in
    "confidence_gap": confidence_gap_gradient,
    "margin_gap": margin_gap_gradient,
}


def score_cotangents(name: ScoreName, scorer: Scorer, logits: NDArray[np.float32]) -> Floats:
    """d(score)/d(logits) of all members [M, N, K], each image's scaled to a largest entry of 1; 0 stays 0."""
    _, gradient = SCORE_GRADIENTS[name](scorer.log_probs(logits), scorer.full)
    cotangents = np.zeros(logits.shape)
    cotangents[scorer.members] = gradient / scorer.temperatures
    largest = np.abs(cotangents).max(axis=(0, 2), keepdims=True)
    scaled: Floats = cotangents / np.where(largest > 0, largest, 1)
    return scaled


def through_softmax(slope: Floats, probs: Floats) -> Floats:
    """From d/d(probs) to d/d(logits)."""
    gradient: Floats = probs * (slope - (probs * slope).sum(axis=2, keepdims=True))
    return gradient


def _gap_slope(values: Floats, classes: NDArray[np.int64], full: Mask) -> Floats:
    """d |mean margin of the full-precision members - that of the others| / d(values)."""
    members, rows = np.arange(len(values))[:, None], np.arange(len(classes))
    others = values.copy()
    others[:, rows, classes] = -np.inf
    rivals = others.argmax(axis=2)
    margins = values[:, rows, classes] - others.max(axis=2)
    share = np.where(full, 1 / full.sum(), -1 / (~full).sum())
    sign = np.sign((share[:, None] * margins).sum(axis=0))
    slope = np.zeros(values.shape)
    slope[members, rows, classes] = share[:, None] * sign
    slope[members, rows, rivals] = -share[:, None] * sign
    return slope
