"""Whether the load generator itself was the bottleneck: its CPU share, and how late it came to its own appointments."""

import time
from dataclasses import dataclass

import numpy as np

MOST_CPU = 0.9
MOST_LATE_MS = 1.0
"""A tenth of its appointments later than this: what it reports as latency is then its own."""


@dataclass(frozen=True)
class Pressure:
    """The generator's own state over a run."""

    cpu: float
    """CPU time over wall time: 1 is a whole core, and the generator has one."""
    late_p50_ms: float
    """How late it looked at its clock, every 10 ms, beside what it was asked to send."""
    late_p90_ms: float
    late_p99_ms: float

    @property
    def saturated(self) -> str | None:
        """Why its figures are not to be believed; None if they are."""
        if self.cpu > MOST_CPU:
            return (
                f"the load generator used {self.cpu:.0%} of its core (at most {MOST_CPU:.0%} is believed): "
                "it, not the server, was the limit; lower --rate or --connections"
            )
        if self.late_p90_ms > MOST_LATE_MS:
            return (
                f"the load generator was itself {self.late_p90_ms:.1f} ms late or more a tenth of the time "
                f"(at most {MOST_LATE_MS:g} ms is believed): give it a core of its own, with --core and taskset"
            )
        return None


def worst(pressures: list[Pressure]) -> Pressure:
    """The largest of each figure, over several runs."""
    return Pressure(
        max(each.cpu for each in pressures),
        max(each.late_p50_ms for each in pressures),
        max(each.late_p90_ms for each in pressures),
        max(each.late_p99_ms for each in pressures),
    )


class Gauge:
    """Measures a Pressure from when it is made."""

    def __init__(self) -> None:
        self.late: list[float] = []
        """Seconds, one an appointment."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> Pressure:
        """The pressure until now."""
        wall = time.perf_counter() - self._wall
        late = 1000 * np.percentile(self.late or [0.0], [50, 90, 99])
        return Pressure((time.process_time() - self._cpu) / max(wall, 1e-9), *(round(float(each), 3) for each in late))
