"""The ledger of a chunk of images: who fell to which step, and the smallest change found for each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Labels
from robustness.evaluation.steps import CLEAN, Step
from robustness.evaluation.worker import Cost, Outcome
from robustness.norms import NORMS, NormName
from robustness.reporting.report import VOTE
from robustness.victim import Array

TOLERANCE = 1e-6
"""By how much float32 rounding may take an image out of the ball."""
STANDS = -1

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One step's own result on the chunk's N images, for what it attacks.

    given [N]: it ran on them. found [N]: adversarial in the attack's own ball. right [N]: of those given, what is
    attacked was right on what the attack made of them, or on the image itself where it made nothing.
    """

    given: Flags
    found: Flags
    right: Flags
    cost: Cost


class Ledger:
    """Steps are entered in order. Targets are the vote, then the members; arrays of them are [T, N]."""

    def __init__(self, images: Array, labels: Labels, members: Sequence[str], norm: NormName, eps: float) -> None:
        self.images, self.labels = images, labels
        self.targets = [VOTE, *members]
        self._norm, self._eps = norm, eps
        shape = (len(self.targets), len(labels))
        self.broken_by = np.full(shape, STANDS)
        """The step that turned each target first, inside the ball; the clean images are step 0."""
        self.broken_alone_by = np.full(shape, STANDS)
        """The same, counting only steps on that target."""
        self.size = np.full(len(labels), np.inf)
        """Of the smallest change that turns the vote, inside the ball or not; with it the image, verdict and step."""
        self.smallest, self.verdict = images.copy(), np.full(len(labels), STANDS)
        self.smallest_by = np.full(len(labels), STANDS)
        self.clean_verdict = np.full(len(labels), STANDS)
        self.wrong_clean = np.zeros(shape, dtype=bool)
        self.rows: list[Row] = []
        self._made = np.zeros(shape, dtype=bool)
        self._fools = np.zeros((len(self.targets), *shape), dtype=bool)

    @property
    def shown(self) -> NDArray[np.int64]:
        """Images [T, T] of which the suite found an adversarial one on a target (row), of those another (column) had
        right."""
        counts: NDArray[np.int64] = (self._made[:, None] & ~self.wrong_clean[None]).sum(axis=2)
        return counts

    @property
    def fooled(self) -> NDArray[np.int64]:
        """Of these, where at least one of the adversarial images fools that other too, [T, T]."""
        counts: NDArray[np.int64] = (self._fools & ~self.wrong_clean[None]).sum(axis=2)
        return counts

    def given(self, step: Step, offset: int) -> NDArray[np.intp]:
        """The images that a step runs on; `offset` is how many images there are in the chunks before.

        In a cascade a member is spared only what attacks on itself have found, so that it has a figure of its own; the
        vote is spared all that turns it, whatever it was made on. Nearer images are searched of those that fell.
        """
        if step.cascade:
            broken_by = self.broken_by if step.on == VOTE else self.broken_alone_by
            return np.flatnonzero(broken_by[self.targets.index(step.on)] == STANDS)
        if step.purpose == "nearest":
            return np.flatnonzero(~self.wrong_clean[0] & (self.size <= self._eps + TOLERANCE))
        most = len(self.labels) if step.most is None else max(0, step.most - offset)
        return np.arange(len(self.labels))[:most]

    def enter(self, step: Step, given: NDArray[np.intp], outcome: Outcome) -> None:
        """The next step's outcome on the images `given`."""
        number, target = len(self.rows), self.targets.index(step.on)
        source = given[outcome.source]
        wrong = outcome.judged.wrong(self.labels[source])
        size = NORMS[self._norm].size(outcome.images - self.images[source])
        if step.attack == CLEAN:
            self.wrong_clean[:, source], self.clean_verdict[source] = wrong, outcome.judged.verdict
        valid = np.isfinite(outcome.images).all(axis=(1, 2, 3))
        valid &= (outcome.images >= 0).all(axis=(1, 2, 3)) & (outcome.images <= 1).all(axis=(1, 2, 3))
        self._enter_fallen(number, step, target, source, wrong & valid & (size <= self._eps + TOLERANCE))
        self._enter_smallest(number, outcome, source, size, wrong[0] & valid)
        self.rows.append(self._row(step, given, outcome, source, wrong[target] & valid))
        # The paper's attacks on the vote follow one member's gradient: what they make is not made on the vote.
        paper_on_member = step.purpose == "paper" and step.on != VOTE
        if (step.purpose == "worst case" or paper_on_member) and step.attack != CLEAN:
            made = wrong[target] & valid & (size <= self._eps + TOLERANCE)
            self._made[target, source[made]] = True
            self._fools[target, :, source[made]] |= wrong[:, made].T

    def _enter_fallen(self, number: int, step: Step, target: int, source: NDArray[np.intp], fell: Flags) -> None:
        for each in range(len(self.targets)):
            rows = source[fell[each]]
            first = rows[self.broken_by[each, rows] == STANDS]
            self.broken_by[each, first] = number
            if each == target or step.attack == CLEAN:
                first = rows[self.broken_alone_by[each, rows] == STANDS]
                self.broken_alone_by[each, first] = number

    def _enter_smallest(
        self, number: int, outcome: Outcome, source: NDArray[np.intp], size: NDArray[np.float64], wrong: Flags
    ) -> None:
        better = wrong & (size < self.size[source])
        rows = source[better]
        self.size[rows], self.smallest[rows] = size[better], outcome.images[better]
        self.verdict[rows], self.smallest_by[rows] = outcome.judged.verdict[better], number

    def _row(
        self, step: Step, given: NDArray[np.intp], outcome: Outcome, source: NDArray[np.intp], wrong: Flags
    ) -> Row:
        n, target = len(self.labels), self.targets.index(step.on)
        mask, found, right = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        mask[given] = True
        right[given] = ~self.wrong_clean[target, given]
        right[source] = ~wrong
        inside = np.ones(len(source), dtype=bool)
        if step.ball is not None:
            norm, eps = step.ball
            inside = NORMS[norm].size(outcome.images - self.images[source]) <= eps + TOLERANCE
        found[source] = wrong & inside
        return Row(mask, found, right, outcome.cost)
