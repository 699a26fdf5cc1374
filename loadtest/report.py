"""What a load run tells: rates, outcomes, latency percentiles, and how they went over time."""

from dataclasses import dataclass

import numpy as np

from loadtest.latency import Latency
from loadtest.pressure import Pressure
from loadtest.recording import PREDICTION, PROBE, Recording

QUEUED_MS = 1.0


@dataclass(frozen=True)
class Report:
    """Rates in requests a second. Latencies count from the moment a request was due, and are of those answered 200."""

    seconds: float
    """How long was measured, the warm-up not counted."""
    requests: int
    offered_rate: float | None
    """None for a closed loop, which offers as much as is answered."""
    answered_rate: float
    outcomes: dict[str, int]
    """How many requests ended with each HTTP status, or without one: refused, reset, garbled, timeout, unsent."""
    latency: Latency
    """Of predictions."""
    p99_of_all_ms: float | None
    """What an objective is held against: p99 over all predictions, one not answered 200 being infinitely late. None
    where that makes p99 infinite."""
    probes: Latency
    resent: int
    """How many of the requests were sent once more, because the server had closed their connection."""
    late_p50_ms: float
    """Median wait for a free connection before a request was sent, part of its latency."""
    pressure: Pressure

    @property
    def failed(self) -> float:
        """Share of the requests that were not answered 200."""
        return 1 - self.outcomes.get("200", 0) / max(1, self.requests)

    def holds(self, p99_ms: float) -> bool:
        """Whether p99 is within an objective; a request that was refused, failed or timed out is not."""
        return self.p99_of_all_ms is not None and self.p99_of_all_ms <= p99_ms

    @property
    def queued(self) -> bool:
        """Whether requests waited for a connection half of the time: more came than the server took."""
        return self.late_p50_ms > QUEUED_MS


def summarize(
    recording: Recording, pressure: Pressure, rate: float | None, seconds: float, warmup: float = 0.0
) -> Report:
    """The report on a run of `seconds`, without its first `warmup`. Raises ValueError if nothing was sent after it."""
    done = recording.good & (recording.done >= warmup) & (recording.done < seconds)
    measured = recording.of(recording.due >= warmup)
    if not len(measured):
        raise ValueError("no request was sent")
    end = min(seconds, float(recording.done.max()))  # Ctrl-C ends a run early
    good = measured.of(measured.good)
    asked = measured.of(measured.kind == PREDICTION)
    return Report(
        seconds=round(end - warmup, 3),
        requests=len(measured),
        offered_rate=rate,
        answered_rate=float(done.sum()) / max(end - warmup, 1e-9),
        outcomes=measured.outcomes(),
        latency=Latency.of(good.seconds[good.kind == PREDICTION]),
        p99_of_all_ms=_finite(Latency.of(np.where(asked.good, asked.seconds, np.inf)).p99_ms),
        probes=Latency.of(good.seconds[good.kind == PROBE]),
        resent=int(measured.resent.sum()),
        late_p50_ms=round(1000 * float(np.median(measured.late)), 3),
        pressure=pressure,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


@dataclass(frozen=True)
class Interval:
    """A stretch of a run: what was due in it, and how many answers came in it, which in a stall are others."""

    start: float
    requests: int
    answered_rate: float
    """By when answers came."""
    outcomes: dict[str, int]
    """Of the requests that were due in it, as is the latency."""
    latency: Latency


def intervals(recording: Recording, length: float, until: float, start: float = 0.0) -> list[Interval]:
    """The run from `start` in stretches of `length` seconds; a last one shorter than half of that is not told."""
    found = []
    for index in range(max(1, int((until - start) / length + 0.5))):
        begin, end = start + index * length, min(until, start + (index + 1) * length)
        part = recording.of((recording.due >= begin) & (recording.due < end))
        good = part.of(part.good & (part.kind == PREDICTION))
        answered = recording.good & (recording.done >= begin) & (recording.done < end)
        rate = float(answered.sum()) / max(end - begin, 1e-9)
        found.append(Interval(begin, len(part), rate, part.outcomes(), Latency.of(good.seconds)))
    return found
