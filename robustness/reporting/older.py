"""An older report as it is told now: only what its suite measured, under names that say what it is."""

import numpy as np

from robustness.detection.auroc import auroc_interval
from robustness.detection.detection_report import AttackerRow, DetectionReport
from robustness.norms import eps_text
from robustness.reporting.overhead import TURNED, OverheadReport
from robustness.reporting.paired import compared
from robustness.reporting.report import AGAINST_FULL, BEST_MEMBER, SUITE, VOTE, Comparison, Paper, Report, Sizes
from robustness.reporting.sizes import fallen_sizes, sizes_of


def told_now(report: Report) -> Report:
    """The same figures. What an older version said beyond what it had measured is left out; a new report is as it was.

    A member that the suite did not attack alone has neither a figure of its own nor a comparison. Sizes are those of
    the images that were attacked at every eps of the curve. What was timed as attacked had been turned.
    """
    attacked = {row.on for row in report.attacks if row.purpose in SUITE}
    members = [row if row.name in attacked else row.model_copy(update={"own": None}) for row in report.members]
    fair = [_again(each, report.images.n) for each in report.comparisons if _fair(each, report, attacked)]
    return report.model_copy(
        update={
            "members": members,
            "comparisons": fair,
            "sizes": _sizes(report),
            "overhead": _overhead(report.overhead),
            "detection": _detection(report.detection),
            "summary": [_eps_as_written(each, report.eps) for each in report.summary],
            "paper": _paper(report),
        }
    )


def _sizes(report: Report) -> Sizes:
    if report.sizes.searched or report.sizes.among is not None or not (report.curve.series and report.sizes.n):
        return report.sizes
    size = np.array(fallen_sizes(report, report.curve.n), dtype=np.float64)
    return sizes_of(size, report.eps, searched=False, among=report.curve.n)


def _detection(detection: DetectionReport | None) -> DetectionReport | None:
    """With an interval for every area: it follows from how many images there were."""
    if detection is None:
        return None
    clean = detection.clean_false_alarms.n
    return detection.model_copy(update={"attackers": [_with_interval(row, clean) for row in detection.attackers]})


def _with_interval(row: AttackerRow, clean: int) -> AttackerRow:
    if row.auroc is None or row.interval is not None:
        return row
    low, high = auroc_interval(row.auroc, row.succeeded, clean)
    return row.model_copy(update={"interval": (round(low, 6), round(high, 6))})


def _overhead(overhead: OverheadReport | None) -> OverheadReport | None:
    if overhead is None:
        return None
    rows = [row.model_copy(update={"images": TURNED}) if row.images == "attacked" else row for row in overhead.cpu]
    return overhead.model_copy(update={"cpu": rows})


def _paper(report: Report) -> Paper | None:
    """Its warnings name an eps in four digits, of attacks whose parameters have all of them."""
    if report.paper is None:
        return None
    warnings = report.paper.warnings
    for row in report.attacks:
        eps = row.parameters.get("eps")
        if isinstance(eps, float):
            warnings = [_eps_as_written(each, eps) for each in warnings]
    return report.paper.model_copy(update={"warnings": warnings})


def _eps_as_written(sentence: str, eps: float) -> str:
    """`8/255` for `0.0314`, where that is the eps that was meant."""
    for rounded in (f"eps {eps:.4f},", f"eps {eps:.4f} ", f"linf {round(eps, 4)} ", f"l2 {round(eps, 4)} "):
        head, _, last = rounded.partition(" ")
        sentence = sentence.replace(rounded, f"{head} {eps_text(eps)}{last[-1]}")
    return sentence


def _fair(comparison: Comparison, report: Report, attacked: set[str]) -> bool:
    """Whether both sides were attacked for themselves; of the best of all members, all."""
    sides = {row.name for row in report.members} if comparison.what == BEST_MEMBER else set()
    return {comparison.first, comparison.second} | sides <= attacked | {VOTE}


def _again(comparison: Comparison, n: int) -> Comparison:
    what = BEST_MEMBER if comparison.what == BEST_MEMBER else AGAINST_FULL
    return compared(what, comparison.first, comparison.second, comparison.only_first, comparison.only_second, n)
