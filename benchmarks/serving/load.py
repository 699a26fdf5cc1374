"""Load on a server in short rounds, from this process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from loadtest.arrivals import arrivals
from loadtest.client import Plan, address_of, drive
from loadtest.comparison import schedule
from loadtest.pictures import open_pictures
from loadtest.pressure import Pressure
from loadtest.recording import Recording
from loadtest.report import Report, summarize
from loadtest.target import Target
from loadtest.workload import Mode, Workload, workload

CONNECTIONS = 16


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 8
    seconds: float = 1.0
    """Of a round, without its warm-up."""
    warmup: float = 0.25
    calls: int = 500
    """One after the other, in a round that is about latency."""
    lasting: int = 100_000
    """Requests before memory is read."""


@dataclass(frozen=True)
class Side:
    """A server, and what it is sent."""

    target: Target
    work: Workload

    @classmethod
    def of(cls, url: str, mode: Mode | None = None) -> Self:
        """Of `URL[#BODY]`, the protocol's binary form without a body; asks for the default bundle.

        Raises ValueError if the server does not tell it, OSError if it is not there.
        """
        target = Target.read(url, "oip-binary")
        return cls(target, workload(target, open_pictures(()), mode))

    def closed(self, effort: Effort, seed: int = 0) -> Report:
        """A round in which an answer sends the next request."""
        plan = Plan(self.work.stream(seed), effort.seconds + effort.warmup, CONNECTIONS)
        recording, pressure = drive(address_of(self.target.parts), plan)
        return summarize(recording, pressure, None, plan.seconds, effort.warmup)

    def opened(self, effort: Effort, rate: float, seed: int, connections: int) -> tuple[Report, Recording]:
        """A round of Poisson arrivals, and its recording without the warm-up."""
        length = effort.seconds + effort.warmup
        plan = Plan(self.work.stream(seed), length, connections, arrivals(rate, length, "poisson", seed))
        recording, pressure = drive(address_of(self.target.parts), plan)
        report = summarize(recording, pressure, rate, length, effort.warmup)
        return report, recording.of(recording.due >= effort.warmup)


def in_turn(sides: Sequence[Side], effort: Effort) -> list[list[Report]]:
    """Closed loops, for each side one a round; in each round every side once, in an order of its own."""
    found: list[list[Report]] = [[] for _ in sides]
    for number, order in enumerate(schedule(len(sides), effort.rounds, 0)):
        for index in order:
            found[index].append(sides[index].closed(effort, number))
    return found


def pressures_of(*reports: Sequence[Report]) -> list[Pressure]:
    """Of every run."""
    return [report.pressure for each in reports for report in each]
