"""The area under the curve, against every pair counted, and against the curve itself."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from robustness.detection.auroc import auroc_interval
from runtime.auroc import auroc

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


@given(st.floats(0, 1), st.integers(1, 400), st.integers(1, 400))
def test_the_interval_holds_the_area_and_is_none_of_a_single_point(area: float, positives: int, negatives: int) -> None:
    low, high = auroc_interval(area, positives, negatives)
    assert 0 <= low <= area <= high <= 1 and low < high


@pytest.mark.parametrize(("positives", "shift"), [(12, 1.5), (12, 3.0), (200, 0.7)])
def test_the_interval_holds_the_true_area_about_as_often_as_it_says(positives: int, shift: float) -> None:
    """Of two normal distributions the area is the normal distribution's of the shift over the root of 2."""
    generator, true = np.random.default_rng(0), NormalDist().cdf(shift / 2**0.5)
    held = 0
    for _ in range(400):
        area = auroc(generator.normal(shift, 1, positives), generator.normal(0, 1, 300))
        assert area is not None
        low, high = auroc_interval(area, positives, 300)
        held += low <= true <= high
    assert held / 400 > 0.92


def test_without_a_pair_there_is_none() -> None:
    some, none = np.ones(3), np.empty(0)
    assert auroc(some, none) is None and auroc(none, some) is None
