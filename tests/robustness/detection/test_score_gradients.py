"""Gradients of the detection scores, against finite differences in float64."""

import numpy as np
import pytest

from robustness.detection.score_gradients import SCORE_GRADIENTS, score_cotangents
from runtime.detection import SCORES, Floats, Mask, Scorer
from runtime.manifest import ScoreName
from tests.linear_victim import LINEAR_MANIFEST, NAMES

MASK: Mask = np.array([False, False, True])
SMOOTH: tuple[ScoreName, ...] = ("jensen_shannon", "kullback_leibler", "confidence_gap", "margin_gap")
STEP = 1e-5


def log_softmax(logits: Floats) -> Floats:
    top = logits - logits.max(axis=2, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(axis=2, keepdims=True)))


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("spread", [1, 6])
def test_a_gradient_is_the_scores_slope(name: ScoreName, spread: float) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)) * spread
    value, gradient = SCORE_GRADIENTS[name](log_softmax(logits), MASK)
    np.testing.assert_array_equal(value, SCORES[name](log_softmax(logits), MASK))
    for place in np.ndindex(3, 4):
        moved = np.zeros_like(logits)
        moved[place[0], :, place[1]] = STEP
        ahead, behind = (SCORES[name](log_softmax(logits + sign * moved), MASK) for sign in (1, -1))
        np.testing.assert_allclose(gradient[place[0], :, place[1]], (ahead - behind) / (2 * STEP), rtol=1e-4, atol=1e-8)


def test_every_score_can_be_attacked() -> None:
    assert SCORE_GRADIENTS.keys() == SCORES.keys()


@pytest.mark.parametrize("name", SCORES)
def test_cotangents_are_of_the_scores_members_through_temperature_and_of_size_1(name: ScoreName) -> None:
    warm = LINEAR_MANIFEST.members[0].model_copy(update={"temperature": 4.0})
    manifest = LINEAR_MANIFEST.model_copy(update={"members": (warm, *LINEAR_MANIFEST.members[1:])})
    logits = np.random.default_rng(1).normal(size=(3, 2, 3)).astype(np.float32) * 3
    scorer = Scorer.of(manifest, name, (NAMES[2], NAMES[0]))
    cotangents = score_cotangents(name, scorer, logits)
    assert (cotangents[1] == 0).all()
    np.testing.assert_allclose(np.abs(cotangents).max(axis=(0, 2)), 1)
    smooth = Scorer.of(manifest, "jensen_shannon" if name == "disagreement" else name, (NAMES[2], NAMES[0]))
    slope = np.zeros(logits.shape)
    for member, k in np.ndindex(3, 3):
        moved = np.zeros(logits.shape, np.float32)
        moved[member, :, k] = 2**-6
        slope[member, :, k] = smooth.of_logits(logits + moved) - smooth.of_logits(logits - moved)
    np.testing.assert_allclose(cotangents, slope / np.abs(slope).max(axis=(0, 2), keepdims=True), atol=0.01)


def test_sure_members_that_agree_leave_no_nan() -> None:
    logits = np.zeros((3, 1, 3), np.float32)
    logits[:, :, 1] = 1e4
    scorer = Scorer.of(LINEAR_MANIFEST, "jensen_shannon", NAMES)
    assert np.isfinite(score_cotangents("jensen_shannon", scorer, logits)).all()
