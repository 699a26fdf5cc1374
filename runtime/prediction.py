"""A prediction: what an ensemble says of a batch of images, and how that came about."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.vote import NO_VOTE, Classes, Probs

Mode = Literal["full", "quorum"]
Status = Literal["ok", "skipped", "error", "nonfinite", "deadline"]


@dataclass(frozen=True)
class Prediction:
    """The ensemble's answer for N images; M members in the manifest's order, K classes."""

    verdict: Classes
    """[N]; NO_VOTE where there is no quorum."""
    votes: Classes
    """[M, N]; NO_VOTE for a member without a vote."""
    probs: Probs
    """[M, N, K] in [0, 1]; zero rows for members without a vote."""
    logits: NDArray[np.float32]
    """[M, N, K]; zero rows for members without a vote."""
    status: list[list[Status]]
    """[M][N]"""
    seconds: list[float]
    """[M]: time each member took for its images; 0 where it was not asked."""
    spans: list[tuple[float, float] | None] = field(default_factory=list)
    """[M]: start and end of each member's run on time.perf_counter's clock; None where it was not asked."""
    details: dict[str, str] = field(default_factory=dict)
    """What failed, by member name, in a member's own words; for logs."""
    inference_seconds: float = 0.0
    """Time in which members ran."""
    vote_seconds: float = 0.0
    """Time spent on turning their logits into probabilities, votes and the verdict."""

    def confidence(self, image: int) -> float:
        """Mean probability that the live members consulted give to the verdict."""
        live = self._live(image)
        verdict = self.verdict[image]
        return sum(float(self.probs[member, image, verdict]) for member in live) / len(live)

    def agreement(self, image: int) -> float:
        """Share of the live members consulted that voted for the verdict."""
        live = self._live(image)
        return sum(bool(self.votes[member, image] == self.verdict[image]) for member in live) / len(live)

    def degraded(self, image: int) -> bool:
        """Whether a member that was asked has no vote."""
        return any(row[image] not in ("ok", "skipped") for row in self.status)

    def _live(self, image: int) -> list[int]:
        return [member for member, vote in enumerate(self.votes[:, image].tolist()) if vote != NO_VOTE]
