"""A figure: what was promised, what was measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from loadtest.pressure import Pressure, worst


@dataclass(frozen=True)
class Figure:
    """One line of the table. `good` says whether the promise holds."""

    what: str
    promised: str
    measured: str
    good: bool


def believed(figure: Figure, pressures: Sequence[Pressure]) -> Figure:
    """The figure; where the load generator was the limit in one of the runs, why there is none."""
    reason = worst(list(pressures)).saturated
    return figure if reason is None else replace(figure, measured=f"no report: {reason}", good=False)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and range: `0.91 (0.89 to 0.95, n = 7)`."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f}, n = {len(values)})"
