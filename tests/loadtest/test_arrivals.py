"""Arrivals: an open loop's clock."""

import statistics
from itertools import pairwise

import pytest

from loadtest.arrivals import arrivals


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert list(arrivals(4, 1, "constant", seed=0)) == [0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_have_the_rate_and_an_exponential_spread() -> None:
    due = list(arrivals(100, 100, "poisson", seed=0))
    gaps = [later - earlier for earlier, later in pairwise(due)]
    assert len(due) == pytest.approx(10_000, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)
    assert due == list(arrivals(100, 100, "poisson", seed=0)) != list(arrivals(100, 100, "poisson", seed=1))


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (1, 0), (-1, 1)])
def test_refuses_what_is_no_rate_or_duration(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        list(arrivals(rate, seconds, "constant", seed=0))
