"""What a load run tells: rates, statuses, latency percentiles."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.client import Sent

SATURATED_LATE_S = 0.001


@dataclass(frozen=True)
class Report:
    """Rates in requests a second, latencies in milliseconds from the moment a request was due."""

    requests: int
    offered_rate: float
    answered_rate: float
    outcomes: dict[str, int]
    """How many requests ended with each HTTP status, or without one: refused, reset, timeout, no answer."""
    p50_ms: float | None
    """Percentiles are of the requests answered 200."""
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    late_p50_ms: float | None
    """Median wait for a free connection before a request was sent, part of its latency."""

    @property
    def saturated(self) -> bool:
        """Whether requests waited for a connection half of the time: the client, or the server, could not keep up."""
        return (self.late_p50_ms or 0) > 1000 * SATURATED_LATE_S


def summarize(sent: Sequence[Sent], rate: float) -> Report:
    """The report on a run. Raises ValueError if nothing was sent."""
    if not sent:
        raise ValueError("no request was sent")
    seconds = max(each.due + each.seconds for each in sent)
    good = sorted(each.seconds for each in sent if each.outcome == "200")
    late = sorted(each.late for each in sent)
    return Report(
        requests=len(sent),
        offered_rate=rate,
        answered_rate=sum(each.outcome == "200" for each in sent) / seconds,
        outcomes=dict(sorted(Counter(each.outcome for each in sent).items())),
        p50_ms=_percentile(good, 0.5),
        p90_ms=_percentile(good, 0.9),
        p99_ms=_percentile(good, 0.99),
        p999_ms=_percentile(good, 0.999),
        max_ms=_percentile(good, 1),
        late_p50_ms=_percentile(late, 0.5),
    )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """Nearest-rank percentile of ordered seconds, in milliseconds; None of nothing."""
    if not ordered:
        return None
    return round(1000 * ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)
