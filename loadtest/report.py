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
    statuses: dict[int, int]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    late_p50_ms: float
    """Median wait for a free connection before a request was sent, part of its latency."""

    @property
    def saturated(self) -> bool:
        """Whether requests waited for a connection half of the time: the client, or the server, could not keep up."""
        return self.late_p50_ms > 1000 * SATURATED_LATE_S


def summarize(sent: Sequence[Sent], rate: float) -> Report:
    """The report on a run. Raises ValueError if nothing was sent."""
    if not sent:
        raise ValueError("no request was sent")
    seconds = max(each.due + each.seconds for each in sent)
    good = sorted(each.seconds for each in sent if each.status == 200) or [math.nan]
    late = sorted(each.late for each in sent)
    return Report(
        requests=len(sent),
        offered_rate=rate,
        answered_rate=sum(each.status == 200 for each in sent) / seconds,
        statuses=dict(Counter(each.status for each in sent)),
        p50_ms=_percentile(good, 0.5),
        p90_ms=_percentile(good, 0.9),
        p99_ms=_percentile(good, 0.99),
        max_ms=_percentile(good, 1),
        late_p50_ms=_percentile(late, 0.5),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of ordered seconds, in milliseconds."""
    return round(1000 * ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)
