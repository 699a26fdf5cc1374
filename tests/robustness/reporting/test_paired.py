"""Paired comparisons: McNemar's exact test against every way in which coins can fall, and what is said."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.reporting.paired import NOT_LIKE_WITH_LIKE, compared, mcnemar
from robustness.reporting.report import AGAINST_FULL, BEST_MEMBER


@given(st.integers(0, 6), st.integers(0, 6))
def test_it_counts_the_falls_of_coins_that_are_as_uneven(only_first: int, only_second: int) -> None:
    n, apart = only_first + only_second, abs(only_first - only_second)
    falls = [abs(2 * sum(coins) - n) >= apart for coins in product((0, 1), repeat=n)]
    assert mcnemar(only_first, only_second) == pytest.approx(sum(falls) / len(falls))


def test_many_images_are_no_trouble() -> None:
    assert 0 < mcnemar(4000, 4200) < 0.05 and mcnemar(5000, 5000) == 1


def test_a_comparison_says_both_sides_and_whether_it_is_chance() -> None:
    best = compared(BEST_MEMBER, "vote", "fp32", 4, 9, 1000)
    assert best.sentence == (
        "vote withstands 0.5 points less than its best member fp32: 4 of 1000 images stand for vote alone, "
        f"9 for fp32 alone (McNemar's exact test: p = 0.27). {NOT_LIKE_WITH_LIKE}"
    )
    assert (best.points, best.p) == (-0.5, 0.2668)
    low = compared(AGAINST_FULL, "w4a4", "fp32", 2, 28, 1000)
    assert low.sentence.startswith("w4a4 withstands 2.6 points less than the full-precision member fp32:")
    assert low.sentence.endswith("p below 0.0001).") and low.p is not None
    assert "as much as" in compared(AGAINST_FULL, "w4a4", "fp32", 3, 3, 10).sentence
