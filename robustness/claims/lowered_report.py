"""A report with a claim in it: every table that counts images counted again."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from robustness.evaluation.checks import confirmed_of
from robustness.reporting.paired import compared
from robustness.reporting.report import (
    AGAINST_FULL,
    BEST_MEMBER,
    VOTE,
    AttackRow,
    Comparison,
    ImageRow,
    MemberRow,
    Report,
    Sizes,
)
from robustness.reporting.sentences import summary_with_claims
from robustness.reporting.share import Share
from robustness.reporting.sizes import fallen_sizes, sizes_of
from robustness.reporting.tables import class_rows


def lowered_report(report: Report, claim: AttackRow, images: Sequence[ImageRow], confirmed: Share) -> Report:
    """The report after a claim: `images` are its rows as they are now, and of those kept `confirmed` were judged again.

    Members are counted anew only where the report says which images each withstood; where it does not, what compares
    the vote with them is left out.
    """
    again = confirmed_of(confirmed)
    checks = [again if check.name == again.name else check for check in report.checks]
    failed = [check.name for check in checks if not check.passed]
    changed = report.model_copy(
        update={
            "trustworthy": not failed,
            "failed_checks": failed,
            "checks": checks,
            "robust": Share.of(sum(image.outcome == "not_broken" for image in images), report.robust.n),
            "confirmed": confirmed,
            "attacks": [*report.attacks, claim],
            "members": _members(report, claim.name, images),
            "classes": class_rows(images, report.bundle.labels),
            "per_image": list(images),
        }
    )
    counted = changed.model_copy(update={"comparisons": _comparisons(changed), "sizes": _sizes(changed)})
    return counted.model_copy(update={"summary": summary_with_claims(counted)})


def _members(report: Report, attack: str, images: Sequence[ImageRow]) -> list[MemberRow]:
    turned: Counter[str] = Counter()
    for before, after in zip(report.per_image, images, strict=True):
        turned.update(set(after.members_fallen or ()) - set(before.members_fallen or ()))
    return [
        row.model_copy(
            update={
                "robust": Share.of(row.robust.count - turned[row.name], row.robust.n),
                "broken_by": {**row.broken_by, attack: turned[row.name]},
            }
        )
        if turned[row.name]
        else row
        for row in report.members
    ]


def _comparisons(report: Report) -> list[Comparison]:
    """The vote's best member may be another now."""
    stands = _stands(report)
    if stands is None:
        return [row for row in report.comparisons if VOTE not in (row.first, row.second)]
    best = max(report.members, key=lambda row: row.robust.count).name
    again = []
    for row in report.comparisons:
        what, second = (BEST_MEMBER, best) if row.what == BEST_MEMBER else (AGAINST_FULL, row.second)
        one, other = stands[row.first], stands[second]
        only = int((one & ~other).sum()), int((other & ~one).sum())
        again.append(compared(what, row.first, second, *only, report.images.n))
    return again


def _stands(report: Report) -> "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] | None":
    """[n] of the vote and each member: withstood everything; None where the report does not say so of members."""
    fallen = [row.members_fallen for row in report.per_image]
    if any(each is None for each in fallen):
        return None
    members = {row.name: np.array([row.name not in (each or ()) for each in fallen]) for row in report.members}
    return {VOTE: np.array([row.outcome == "not_broken" for row in report.per_image]), **members}


def _sizes(report: Report) -> Sizes:
    size = np.array(fallen_sizes(report, report.sizes.among), dtype=np.float64)
    return sizes_of(size, report.eps, searched=report.sizes.searched, among=report.sizes.among)
