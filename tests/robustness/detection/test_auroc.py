"""The area under the curve, against every pair counted, and against the curve itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from robustness.detection.auroc import auroc

Scores = NDArray[np.float64]

SCORES = hnp.arrays(np.float64, st.integers(1, 20), elements=st.integers(-3, 3).map(float))
"""Few values, so that there are ties."""


@given(positives=SCORES, negatives=SCORES)
def test_it_counts_pairs_ties_half(positives: Scores, negatives: Scores) -> None:
    pairs = [(p > n) + (p == n) / 2 for p in positives.tolist() for n in negatives.tolist()]
    assert auroc(positives, negatives) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


@given(positives=SCORES, negatives=SCORES)
def test_it_is_the_area_under_the_curve(positives: Scores, negatives: Scores) -> None:
    thresholds = [np.inf, *np.unique(np.concatenate([positives, negatives]))[::-1]]
    hits = [float((positives >= threshold).mean()) for threshold in thresholds]
    alarms = [float((negatives >= threshold).mean()) for threshold in thresholds]
    assert auroc(positives, negatives) == pytest.approx(float(np.trapezoid(hits, alarms)), rel=1e-9)


def test_scores_without_end_are_compared_too() -> None:
    assert auroc(np.array([-np.inf, 1.0]), np.array([0.0, -np.inf])) == (0 + 0.5 + 1 + 1) / 4


def test_without_a_pair_there_is_none() -> None:
    some, none = np.ones(3), np.empty(0)
    assert auroc(some, none) is None and auroc(none, some) is None
