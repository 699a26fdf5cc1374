"""An older report as it is told now: only what its suite measured, under names that say what it is."""

from robustness.reporting.paired import compared
from robustness.reporting.report import AGAINST_FULL, BEST_MEMBER, SUITE, VOTE, Comparison, Report


def told_now(report: Report) -> Report:
    """The same figures. What an older version said beyond what it had measured is left out; a new report is as it was.

    A member that the suite did not attack alone has neither a figure of its own nor a comparison.
    """
    attacked = {row.on for row in report.attacks if row.purpose in SUITE}
    members = [row if row.name in attacked else row.model_copy(update={"own": None}) for row in report.members]
    fair = [_again(each, report.images.n) for each in report.comparisons if _fair(each, report, attacked)]
    return report.model_copy(update={"members": members, "comparisons": fair})


def _fair(comparison: Comparison, report: Report, attacked: set[str]) -> bool:
    """Whether both sides were attacked for themselves; of the best of all members, all."""
    sides = {row.name for row in report.members} if comparison.what == BEST_MEMBER else set()
    return {comparison.first, comparison.second} | sides <= attacked | {VOTE}


def _again(comparison: Comparison, n: int) -> Comparison:
    what = BEST_MEMBER if comparison.what == BEST_MEMBER else AGAINST_FULL
    return compared(what, comparison.first, comparison.second, comparison.only_first, comparison.only_second, n)
