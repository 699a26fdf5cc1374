"""Findings: the ledgers of all chunks as one, and what is counted in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness.evaluation.evaluate import Plan
from robustness.evaluation.ledger import STANDS, TOLERANCE, Flags, Ledger, Row
from robustness.evaluation.steps import CLEAN, Step, needs_gradients
from robustness.evaluation.worker import Cost
from robustness.reporting.report import VOTE, Outcome
from robustness.reporting.share import Share
from robustness.victim import Array


@dataclass(frozen=True)
class Findings:
    """What all steps found of all n images; targets are the vote and the members. See `Ledger` for the arrays."""

    plan: Plan
    targets: list[str]
    broken_by: NDArray[np.int64]
    broken_alone_by: NDArray[np.int64]
    size: NDArray[np.float64]
    smallest: Array
    verdict: NDArray[np.int64]
    smallest_by: NDArray[np.int64]
    clean_verdict: NDArray[np.int64]
    wrong_clean: Flags
    rows: list[Row]
    fooled: NDArray[np.int64]
    shown: NDArray[np.int64]

    @classmethod
    def of(cls, plan: Plan, ledgers: Sequence[Ledger]) -> "Findings":
        """`ledgers` in the order of their chunks."""
        names = ("broken_by", "broken_alone_by", "size", "smallest", "verdict", "smallest_by")
        by_image = ("size", "smallest", "verdict", "smallest_by", "clean_verdict")
        joined = {
            name: np.concatenate([getattr(each, name) for each in ledgers], axis=0 if name in by_image else -1)
            for name in (*names, "clean_verdict", "wrong_clean")
        }
        rows = [_joined([each.rows[number] for each in ledgers]) for number in range(len(plan.steps))]
        fooled, shown = (np.sum([getattr(each, name) for each in ledgers], axis=0) for name in ("fooled", "shown"))
        return cls(plan, ledgers[0].targets, rows=rows, fooled=fooled, shown=shown, **joined)

    @property
    def n(self) -> int:
        return len(self.size)

    def clean(self, target: str = VOTE) -> Share:
        return Share.of(int((~self.wrong_clean[self.targets.index(target)]).sum()), self.n)

    def stands(self, target: str = VOTE) -> Flags:
        """Of each image, whether no adversarial image inside the ball turns this target, and it was right before."""
        flags: Flags = self.broken_by[self.targets.index(target)] == STANDS
        return flags

    def robust(self, target: str = VOTE) -> Share:
        return Share.of(int(self.stands(target).sum()), self.n)

    @property
    def kept(self) -> NDArray[np.intp]:
        """The images of which an adversarial one is kept: right before, and turned inside the ball."""
        return np.flatnonzero(~self.wrong_clean[0] & (self.size <= self.plan.eps + TOLERANCE))

    def outcome(self, image: int) -> Outcome:
        if self.wrong_clean[0, image]:
            return "wrong"
        return "not_broken" if self.broken_by[0, image] == STANDS else "broken"

    @property
    def fallen_to_suite(self) -> Flags:
        """Of each image, whether the vote was wrong before, or fell to a step of the suite itself."""
        measured = [n for n, step in enumerate(self.plan.steps) if step.purpose in ("curve", "check")]
        first: NDArray[np.int64] = self.broken_by[0]
        fallen: Flags = (first != STANDS) & (first < min(measured, default=len(self.plan.steps)))
        return fallen

    def fallen_to_queries(self, target: str) -> int:
        """Images that fell to an attack of the suite on this target that only asks, before one with gradients did."""
        asked = [
            number
            for number, step in self.steps("worst case")
            if step.on == target and step.attack != CLEAN and not needs_gradients(step)
        ]
        return int(np.isin(self.broken_alone_by[self.targets.index(target)], asked).sum())

    def steps(self, purpose: str) -> list[tuple[int, Step]]:
        """The steps of this purpose, with their numbers."""
        return [(number, step) for number, step in enumerate(self.plan.steps) if step.purpose == purpose]

    def labelled(self, label: str, on: str = VOTE) -> Row | None:
        """What the step with this label found; None where it was left out."""
        found = [
            row for row, step in zip(self.rows, self.plan.steps, strict=True) if (step.label, step.on) == (label, on)
        ]
        return found[0] if found else None

    def wrong_after(self, row: Row, target: str = VOTE) -> Flags:
        """[n]: of the images given, those that were wrong before or that the step found adversarial in its own ball."""
        wrong: Flags = row.given & (row.found | self.wrong_clean[self.targets.index(target)])
        return wrong


def _joined(rows: Sequence[Row]) -> Row:
    given, found, right = (np.concatenate([getattr(row, name) for row in rows]) for name in ("given", "found", "right"))
    return Row(given, found, right, Cost.total([row.cost for row in rows]))
