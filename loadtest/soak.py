"""A long run: does latency drift, does memory grow."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from loadtest.report import Interval, Report

MOST_PAIRS = 400


@dataclass(frozen=True)
class Soak:
    """A report, its intervals, and what changed from beginning to end."""

    report: Report
    intervals: list[Interval]
    drift_p50: float | None
    """By which share of its median p50 changed over the run, by the median slope between intervals."""
    drift_p99: float | None
    memory_start_bytes: int | None
    """Resident memory after the warm-up, as the server's /metrics say; None where they do not."""
    memory_end_bytes: int | None
    memory_bytes: list[int | None]
    """At the beginning of each interval; the first is that after the warm-up."""


def drift(values: Sequence[float | None]) -> float | None:
    """The median slope between all pairs of values (Theil and Sen), times their number, over their median.

    Single bad intervals do not move it. None of fewer than three values.
    """
    points = [(index, value) for index, value in enumerate(values) if value is not None]
    if len(points) > MOST_PAIRS:
        points = points[:: len(points) // MOST_PAIRS + 1]
    if len(points) < 3:
        return None
    slopes = [(later - value) / (at - index) for (index, value), (at, later) in combinations(points, 2)]
    middle = float(np.median([value for _, value in points]))
    return float(np.median(slopes)) * (len(values) - 1) / middle if middle else None
