"""What a run was to hold: latency, and the share that is answered."""

from loadtest.commands.options import Missed
from loadtest.report import Report


def require(report: Report, p99: float | None, errors: float | None) -> None:
    """Raises Missed if p99, in milliseconds, or the share that was not answered 200 is above its objective.

    A request that was refused, failed or timed out counts as infinitely late: else who refuses most is quickest.
    """
    if p99 is not None and not report.holds(p99):
        raise Missed(f"p99: the objective is {p99:g} ms, {_measured(report)}")
    if errors is not None and report.failed > errors:
        raise Missed(f"errors: the objective is {errors:.2%}, measured {report.failed:.2%}")


def _measured(report: Report) -> str:
    if report.p99_of_all_ms is not None:
        return f"measured {report.p99_of_all_ms:g} ms"
    return f"but {report.failed:.2%} of the requests were not answered 200, which counts as infinitely late"
