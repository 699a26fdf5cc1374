"""The highest rate that holds a latency objective: doubled until it does not, then halved in between."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.pressure import Pressure


@dataclass(frozen=True)
class Step:
    """One rate that was tried."""

    rate: float
    answered_rate: float
    p50_ms: float | None
    p99_ms: float | None
    failed: float
    """Share of the requests that were not answered 200."""
    held: bool
    pressure: Pressure


Measure = Callable[[float], Step]


@dataclass(frozen=True)
class Capacity:
    """What the search found; steps in the order in which they were taken."""

    steps: list[Step]
    rate: float | None
    """The highest rate that held below every one that did not; None if the first did not."""
    ended: str
    """Why the search ended: `found`, or `ceiling` where even the highest rate allowed held."""

    @property
    def monotone(self) -> bool:
        """Whether no rate held above one that did not: otherwise the objective is a matter of luck around there."""
        held = [step.rate for step in self.steps if step.held]
        return not held or all(step.rate > max(held) for step in self.steps if not step.held)


def search(
    measure: Measure, start: float, ceiling: float, precision: float = 0.05, floor: float | None = None
) -> Capacity:
    """Search from `start` up to `ceiling`, or down to `floor`, until the rate is known to `precision`, a share of it.

    The best rate is measured again at the end, as is one well above the lowest that failed: what changes its answer
    shows in `monotone`.
    """
    steps: list[Step] = []
    floor = start / 64 if floor is None else floor

    def holds(rate: float) -> bool:
        steps.append(measure(rate))
        return steps[-1].held

    low, high = 0.0, start
    while holds(high) or holds(high):  # a first failure is tried again: one bad second must not end the climb
        low = high
        if high >= ceiling:
            return Capacity(steps, low, "ceiling")
        high = min(2 * high, ceiling)
    while high - low > precision * high and high > floor:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    beyond = min(1.25 * high, ceiling)
    if low and beyond > high:
        holds(beyond)
    while low and not holds(low):  # once more: a rate that held by luck is not a capacity
        low = max((step.rate for step in steps if step.held and step.rate < low), default=0.0)
    return Capacity(steps, low or None, "found")
