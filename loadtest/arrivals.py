"""When requests are due: an open loop does not wait for answers, as real users do not."""

import random
from collections.abc import Iterator
from typing import Literal

Pattern = Literal["constant", "poisson"]


def arrivals(rate: float, seconds: float, pattern: Pattern, seed: int) -> Iterator[float]:
    """Times from 0 to `seconds`, in seconds: `rate` a second, evenly spaced or as a Poisson process.

    Raises ValueError for a rate or duration that is not above 0.
    """
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate, seconds: expected numbers above 0, got {rate:g} and {seconds:g}")
    return _poisson(rate, seconds, seed) if pattern == "poisson" else _constant(rate, seconds)


def _constant(rate: float, seconds: float) -> Iterator[float]:
    """By multiplication, so that nothing adds up over a long run."""
    index = 0
    while (due := index / rate) < seconds:
        yield due
        index += 1


def _poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    gap, due = random.Random(seed).expovariate, 0.0
    while (due := due + gap(rate)) < seconds:
        yield due
