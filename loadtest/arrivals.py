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
    chance = random.Random(seed)
    due = 0.0
    while due < seconds:
        yield due
        due += chance.expovariate(rate) if pattern == "poisson" else 1 / rate
