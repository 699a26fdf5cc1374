"""Sentences of a report about its worst case, which claims entered later change."""

from collections.abc import Sequence

from robustness.norms import eps_text
from robustness.reporting.report import AttackRow, Report
from robustness.reporting.share import Share

CLAIM = "claim: "
"""How a claim's row in the table of attacks begins; its file's name follows."""
UNTRUSTED, WORST_CASE, ENTERED, UNKNOWN = "Not trustworthy", "No attack of the suite", "Claims entered", "Members' own"
"""How the sentences begin by which they are known again."""


def worst_case(suite: str, norm: str, eps: float, seed: int, robust: Share, *, claims: bool = False) -> str:
    since = ", and no claim entered since," if claims else ""
    return (
        f"{WORST_CASE} {suite}{since} turned the verdict within {norm} {eps_text(eps)} on {percent_of(robust)}; images "
        f"wrong before the attack count as failures, seed {seed}."
    )


def percent_of(share: Share) -> str:
    """`93.7% of 1000 images (95% interval 92.0% to 95.0%)`."""
    return f"{share.share:.1%} of {share.n} images (95% interval {share.low:.1%} to {share.high:.1%})"


def entered(claims: Sequence[AttackRow]) -> str:
    each = ", ".join(f"{row.name.removeprefix(CLAIM)}: {row.first}" for row in claims)
    return f"{ENTERED} since turned {sum(row.first for row in claims)} images that had withstood the suite ({each})."


def summary_with_claims(report: Report) -> list[str]:
    """The report's sentences, those about checks and the worst case said anew of its figures as they are."""
    lines = [f"{UNTRUSTED}: {check.name}. {check.sentence}" for check in report.checks if not check.passed]
    for line in report.summary:
        if line.startswith(WORST_CASE):
            lines.append(worst_case(report.suite, report.norm, report.eps, report.seed, report.robust, claims=True))
        elif not line.startswith((UNTRUSTED, ENTERED, UNKNOWN)):
            lines.append(line)
    lines.append(entered(report.claims))
    if any(row.members_fallen is None for row in report.per_image):
        lines.append(f"{UNKNOWN} figures leave claims out: the report does not say which images each member withstood.")
    return lines
