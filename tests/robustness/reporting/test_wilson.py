"""Wilson's interval against printed values and its own definition."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.reporting.share import Share
from robustness.reporting.wilson import Z, wilson


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    ids=str,
)
def test_the_intervals_that_newcombe_prints(count: int, n: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(count, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_its_limits_are_the_shares_for_which_the_count_is_just_believable(case: tuple[int, int]) -> None:
    count, n = case
    for limit in wilson(count, n):
        believable = abs(count / n - limit) <= Z * sqrt(limit * (1 - limit) / n) + 1e-9
        assert 0 <= limit <= 1 and believable
    assert Share.of(count, n).count == count


def test_of_no_images_nothing_is_known() -> None:
    assert wilson(0, 0) == (0, 1)
    assert Share.of(0, 0).share == 0
