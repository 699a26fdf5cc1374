"""What is said of a claim: for people in a terminal, and for machines."""

from dataclasses import asdict
from typing import Any

import numpy as np
from rich.text import Text

from robustness.claims.entry import Entered
from robustness.claims.judgement import Judgement, Lowered
from robustness.norms import NormName
from robustness.reporting.page.parts import ball_text
from robustness.reporting.report import Report
from runtime.manifest import Manifest

MOST_NAMED = 3


def document(
    manifest: Manifest, norm: NormName, eps: float, judgement: Judgement, left: Lowered | None, entered: Entered | None
) -> dict[str, Any]:
    """The same for machines; a list has an entry for each image of the file."""
    return {
        "bundle": {"name": manifest.name, "version": manifest.version},
        "norm": norm,
        "eps": eps,
        "holds": judgement.holds.tolist(),
        "near": judgement.near.tolist(),
        "in_range": judgement.in_range.tolist(),
        "misclassified": judgement.misclassified.tolist(),
        "size": judgement.size.tolist(),
        "worst_case": None if left is None else {"before": left.before.share, "after": left.after.share},
        "entered": None if entered is None else asdict(entered),
    }


def verdict_text(judgement: Judgement) -> list[Text]:
    holds = int(judgement.holds.sum())
    lines = [
        Text(f"{holds} of {len(judgement.holds)} hold: near, in [0, 1], and misclassified by the served vote", "bold")
    ]
    farthest = [f"image {k} by {judgement.size[k]:.4g}" for k in np.flatnonzero(~judgement.near)[:MOST_NAMED]]
    for flags, what, named in (
        (judgement.near, "farther from its test image than eps", farthest),
        (judgement.in_range, "outside [0, 1]", _named(~judgement.in_range)),
        (judgement.misclassified, "classified rightly", _named(~judgement.misclassified)),
    ):
        if count := int((~flags).sum()):
            more = ", ..." if count > len(named) else ""
            lines.append(Text(f"{count} {what}: {', '.join(named)}{more}", "red"))
    return lines


def _named(flags: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> list[str]:
    return [f"image {k}" for k in np.flatnonzero(flags)[:MOST_NAMED]]


def report_text(report: Report | None, left: Lowered | None) -> Text:
    """What the claim does to the bundle's report."""
    if report is None:
        return Text("the bundle has no report whose worst case it could lower", "dim")
    if left is None:
        return Text("the bundle's report is on other test images: its worst case is not compared", "dim")
    suite = f"{report.suite}, {ball_text(report.norm, report.eps)}, n = {report.robust.n}"
    before, after = left.before.share, left.after.share
    if not left.fallen:
        return Text(f"the worst case of the bundle's report ({suite}) stays at {before:.1%}")
    return Text(
        f"the worst case of the bundle's report ({suite}) falls from {before:.1%} to {after:.1%}: "
        f"{len(left.fallen)} test images fall that had withstood every attack",
        "bold red",
    )


def entered_text(entered: Entered, manifest: Manifest) -> Text:
    """What of the claim the bundle's report has now."""
    if not entered:
        return Text("nothing is entered: the report knows as much, and images as near", "dim")
    return Text(
        f"entered in the report of {manifest.name}: {entered.fallen} test images fall, {entered.nearer} have a nearer "
        f"adversarial image than was known, members fall at {entered.members}. A server that is running has to be "
        "started again to show it.",
        "bold",
    )
