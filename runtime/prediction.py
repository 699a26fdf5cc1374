"""A prediction: what an ensemble says of a batch of images, and how that came about."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.vote import NO_VOTE, Classes, Probs

Mode = Literal["full", "quorum"]
MODES: tuple[Mode, ...] = get_args(Mode)
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

    def images(self, chosen: list[int]) -> "Prediction":
        """The prediction for some of its images."""
        return replace(
            self,
            verdict=self.verdict[chosen],
            votes=self.votes[:, chosen],
            probs=self.probs[:, chosen],
            logits=self.logits[:, chosen],
            status=[[row[image] for image in chosen] for row in self.status],
        )

    def confidence(self, image: int) -> float:
        """Mean probability that the live members consulted give to the verdict."""
        live = [
            share for share, vote in zip(self._for_verdict[image], self.ballots[image], strict=True) if vote != NO_VOTE
        ]
        return sum(live) / len(live)

    def agreement(self, image: int) -> float:
        """Share of the live members consulted that voted for the verdict."""
        votes = self.ballots[image]
        return votes.count(int(self.verdict[image])) / (len(votes) - votes.count(NO_VOTE))

    def degraded(self, image: int) -> bool:
        """Whether a member that was asked has no vote."""
        return any(row[image] not in ("ok", "skipped") for row in self.status)

    @cached_property
    def complete(self) -> bool:
        """Whether every image has a verdict."""
        return NO_VOTE not in self.verdict.tolist()

    @cached_property
    def ballots(self) -> list[list[int]]:
        """[N][M]: the votes on each image. Plain lists: element by element they are several times faster than NumPy."""
        ballots: list[list[int]] = self.votes.T.tolist()
        return ballots

    @cached_property
    def own_probs(self) -> list[list[float]]:
        """[N][M]: the probability that each member gives to its own vote; of one without a vote it means nothing."""
        members, images = self.votes.shape
        own: list[list[float]] = self.probs[np.arange(members)[:, None], np.arange(images), self.votes].T.tolist()
        return own

    @cached_property
    def _for_verdict(self) -> list[list[float]]:
        """[N][M]: the probability that each member gives to the verdict."""
        chosen: list[list[float]] = self.probs[:, np.arange(len(self.verdict)), self.verdict].T.tolist()
        return chosen
