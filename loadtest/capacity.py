"""The highest rate that holds a latency objective: doubled until it does not, then halved in between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.pressure import Pressure, worst


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
    limited: bool = False
    """Whether the load generator was the limit: nothing is known of the server at this rate, and `held` is False."""
    resent: int = 0

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "not believed" if self.limited else "holds" if self.held else "fails"


Measure = Callable[[float], Step]


@dataclass(frozen=True)
class Capacity:
    """What the search found; steps in the order in which they were taken."""

    steps: list[Step]
    rate: float | None
    """The highest rate that held below every one that did not; None if the first did not."""
    ended: str
    """Why the search ended: `found`; `ceiling` where even the highest rate allowed held, and `generator` where the load
    generator was the limit beyond: then the rate is what the server holds at least."""

    @property
    def words(self) -> str:
        """The rate, for people."""
        rate = f"{self.rate:,.0f}/s" if self.rate is not None else "none"
        return f"at least {rate}; the load generator was the limit beyond" if self.ended == "generator" else rate

    @property
    def monotone(self) -> bool:
        """Whether no rate held above one that did not: otherwise the objective is a matter of luck around there."""
        held = [step.rate for step in self.steps if step.held]
        return not held or all(step.rate > max(held) for step in self.steps if not (step.held or step.limited))

    @property
    def pressure(self) -> Pressure:
        """The worst of the steps that are believed, of which there is one if there is a rate."""
        return worst([step.pressure for step in self.steps if not step.limited] or [self.steps[-1].pressure])


class _Limited(Exception):
    """The load generator was the limit."""


def search(
    measure: Measure, start: float, ceiling: float, precision: float = 0.05, floor: float | None = None
) -> Capacity:
    """Search from `start` up to `ceiling`, or down to `floor`, until the rate is known to `precision`, a share of it.

    The best rate is measured again at the end, as is one well above the lowest that failed: what changes its answer
    shows in `monotone`. A step of which the load generator was the limit is measured again; if it is the limit there
    too, the search ends with what held until then.
    """
    steps: list[Step] = []

    def holds(rate: float) -> bool:
        for _ in range(2):
            steps.append(measure(rate))
            if not steps[-1].limited:
                return steps[-1].held
        raise _Limited

    try:
        rate, ended = _climb(holds, steps, start, ceiling, precision, start / 64 if floor is None else floor)
    except _Limited:
        rate, ended = _highest(steps), "generator"
    return Capacity(steps, rate, ended)


def _highest(steps: Sequence[Step]) -> float | None:
    """The highest rate that held when it was last measured, below all those that did not."""
    last = {step.rate: step.held for step in steps if not step.limited}
    lowest_failure = min((rate for rate, held in last.items() if not held), default=float("inf"))
    return max((rate for rate, held in last.items() if held and rate < lowest_failure), default=None)


def _climb(
    holds: Callable[[float], bool], steps: Sequence[Step], start: float, ceiling: float, precision: float, floor: float
) -> tuple[float | None, str]:
    """The rate, and why the search ended. Raises _Limited."""
    low, high = 0.0, start
    while holds(high) or holds(high):  # a first failure is tried again: one bad second must not end the climb
        low = high
        if high >= ceiling:
            return low, "ceiling"
        high = min(2 * high, ceiling)
    while high - low > precision * high and high > floor:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    beyond = min(1.25 * high, ceiling)
    if low and beyond > high:
        holds(beyond)
    while low and not holds(low):  # once more: a rate that held by luck is not a capacity
        low = max((step.rate for step in steps if step.held and step.rate < low), default=0.0)
    return low or None, "found"
