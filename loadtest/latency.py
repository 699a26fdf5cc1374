"""Percentiles of latency."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Latency:
    """Nearest-rank percentiles, in milliseconds; None of nothing."""

    n: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None

    @classmethod
    def of(cls, seconds: ArrayLike) -> "Latency":
        """Of latencies in seconds [N]."""
        values = np.asarray(seconds, np.float64)
        if not values.size:
            return cls(0, None, None, None, None, None)
        found = 1000 * np.quantile(values, SHARES, method="inverted_cdf")
        return cls(values.size, *(round(float(each), 3) for each in found))


def milliseconds(value: float | None) -> str:
    """For people, three digits.

    >>> [milliseconds(value) for value in (0.1234, 12.34, 1234.5, None)]
    ['0.123 ms', '12.3 ms', '1.23 s', 'none']
    """
    if value is None:
        return "none"
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def percentiles(of: Latency) -> str:
    """p50, p90, p99, p99.9 and the largest, for people."""
    values: Sequence[float | None] = (of.p50_ms, of.p90_ms, of.p99_ms, of.p999_ms, of.max_ms)
    return ", ".join(milliseconds(value) for value in values)
