"""The ballot: members' answers as they come in, checked, and turned into votes."""

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.member import Answer, Network
from runtime.prediction import Prediction, Status
from runtime.vote import NO_VOTE, Classes, Probs, softmax

Rows = NDArray[np.intp]


class Ballot:
    """Votes for a batch of images. All members of a stage are counted at once: at batch 1 every NumPy call shows."""

    def __init__(
        self, members: Sequence[Network], temperatures: NDArray[np.float32], images: int, n_classes: int
    ) -> None:
        """`temperatures` [M, 1, 1] are the members'."""
        self._start = time.perf_counter()
        self._members, self._temperatures = members, temperatures
        shape = (len(members), images, n_classes)
        self.votes: Classes = np.full(shape[:2], NO_VOTE, dtype=np.int64)
        self.probs: Probs = np.zeros(shape, dtype=np.float32)
        self.logits: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
        self.status: list[list[Status]] = [["skipped"] * images for _ in members]
        self.seconds = [0.0] * len(members)
        self.spans: list[tuple[float, float] | None] = [None] * len(members)
        self.details: dict[str, str] = {}
        self.inference_seconds = 0.0

    def enter(self, indices: Sequence[int], answers: Sequence[tuple[Answer, float]], rows: Rows | None = None) -> None:
        """Enter the answers of the members `indices`, with the times they ended, for the images `rows`, or for all."""
        given = []
        for index, (answer, end) in zip(indices, answers, strict=True):
            self.seconds[index] = answer.seconds
            self.spans[index] = (end - answer.seconds, end)
            if answer.logits is not None:
                given.append((index, answer.logits))
            else:
                reason = answer.reason or "error"
                self._mark(index, reason, rows)
                self.details[self._members[index].name] = answer.detail or reason
        if given:
            self._count([index for index, _ in given], np.array([logits for _, logits in given]), rows)

    def result(self, verdict: Classes) -> Prediction:
        """The prediction with this verdict [N]."""
        spent = time.perf_counter() - self._start
        return Prediction(
            verdict,
            self.votes,
            self.probs,
            self.logits,
            self.status,
            self.seconds,
            self.spans,
            self.details,
            self.inference_seconds,
            spent - self.inference_seconds,
        )

    def _count(self, indices: list[int], logits: NDArray[np.float32], rows: Rows | None) -> None:
        # A sum is finite only if all its terms are: one call where, as nearly always, they are.
        live = None if math.isfinite(logits.sum()) else np.asarray(np.isfinite(logits).all(axis=2))
        if live is not None:
            logits = np.where(live[:, :, None], logits, np.float32(0))
        everyone = len(indices) == len(self._members)
        probs = softmax(logits, self._temperatures if everyone else self._temperatures[indices])
        votes = logits.argmax(axis=2)
        if live is not None:
            votes[~live], probs[~live] = NO_VOTE, 0
        if rows is None and everyone:
            self.votes, self.probs, self.logits = votes, probs, logits  # in the manifest's order: all, or none is left
        else:
            members = np.array(indices, dtype=np.intp)
            where = members if rows is None else (members[:, None], rows)
            self.votes[where], self.probs[where], self.logits[where] = votes, probs, logits
        for place, index in enumerate(indices):
            self._mark(index, "ok", rows)
            if live is not None and not live[place].all():
                dead = np.flatnonzero(~live[place])
                self._mark(index, "nonfinite", dead if rows is None else rows[dead])
                self.details[self._members[index].name] = "returned a number that is not finite"

    def _mark(self, index: int, status: Status, rows: Rows | None) -> None:
        if rows is None:
            self.status[index] = [status] * len(self.status[index])
        else:
            for row in rows.tolist():
                self.status[index][row] = status
