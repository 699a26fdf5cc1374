"""Detection: how far the members' answers to an image are apart, which an attack on some of them drives up.

A score takes log probabilities, float64 [M, N, K], of the M members that it compares, and which of them are of full
precision, bool [M]; it returns a number for each image, [N], larger being more suspicious. Members whose logits are so
far apart that their probabilities round to 0 or 1 still tell: everything is computed from logits, in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtime.manifest import Manifest, ScoreName
from runtime.prediction import Prediction
from runtime.vote import NO_VOTE

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Score = Callable[[Floats, Mask], Floats]

TINY = 1e-300


def jensen_shannon(log_probs: Floats, full: Mask) -> Floats:
    """The Jensen-Shannon divergence of the members' probs over log M: 0 where they are equal, 1 where disjoint.

    The mean over members of KL(p_m || their mean) (Lin, IEEE Transactions on Information Theory 37(1), 1991).
    """
    probs = np.exp(log_probs)
    log_mean = np.log(np.maximum(probs.mean(axis=0), TINY))
    divergence = (probs * (log_probs - log_mean)).sum(axis=2).mean(axis=0)
    return np.asarray(np.maximum(divergence, 0) / np.log(len(probs)))


def kullback_leibler(log_probs: Floats, full: Mask) -> Floats:
    """KL(p || q) in nats, the mean over each low-precision member's probs p and each full-precision one's q.

    It is large where full precision all but rules out what the others still hold possible: so it goes when only the
    full-precision member is attacked.
    """
    low, sure = log_probs[~full], log_probs[full].mean(axis=0)
    divergence = (np.exp(low) * (low - sure)).sum(axis=2).mean(axis=0)
    return np.asarray(np.maximum(divergence, 0))


def disagreement(log_probs: Floats, full: Mask) -> Floats:
    """1 less the agreement: the share of the members whose class is not the commonest one."""
    votes = log_probs.argmax(axis=2)
    alike = (votes[:, None] == votes).sum(axis=0)
    return np.asarray(1 - alike.max(axis=0) / len(votes))


def confidence_gap(log_probs: Floats, full: Mask) -> Floats:
    """How much surer the full-precision members are of a class than the low-precision ones, or less sure, in [0, 1].

    The class is that of the largest mean probability, and a member's surety its probability of it less that of its
    likeliest other class; half the difference of the two groups' means.
    """
    probs = np.exp(log_probs)
    return np.asarray(_gap(probs, favourite(probs), full) / 2)


def margin_gap(log_probs: Floats, full: Mask) -> Floats:
    """As `confidence_gap`, of margins of logits over temperature (nats), which grow where probabilities cannot."""
    return _gap(log_probs, favourite(np.exp(log_probs)), full)


SCORES: dict[ScoreName, Score] = {
    "jensen_shannon": jensen_shannon,
    "kullback_leibler": kullback_leibler,
    "disagreement": disagreement,
    "confidence_gap": confidence_gap,
    "margin_gap": margin_gap,
}


@dataclass(frozen=True)
class Scorer:
    """A score over some of a manifest's members: indices, temperatures [M, 1, 1], and which are of full precision."""

    score: Score
    members: list[int]
    temperatures: Floats
    full: Mask

    @classmethod
    def of(cls, manifest: Manifest, score: ScoreName, members: Sequence[str]) -> Self:
        """The score of this name over the members of these names."""
        by_name = {member.name: (index, member) for index, member in enumerate(manifest.members)}
        chosen = [by_name[name] for name in members]
        return cls(
            SCORES[score],
            [index for index, _ in chosen],
            np.array([member.temperature for _, member in chosen], dtype=np.float64)[:, None, None],
            np.array([member.precision.is_float for _, member in chosen]),
        )

    def __call__(self, prediction: Prediction) -> Floats:
        """The score of each image [N]; NaN where one of the members has no vote."""
        known = (prediction.votes[self.members] != NO_VOTE).all(axis=0)
        return np.where(known, self.of_logits(prediction.logits), np.nan)

    def ranking(self, prediction: Prediction) -> Floats:
        """The score of each image [N]; minus infinity where none can be told: it raises no alarm."""
        scores = self(prediction)
        return np.where(np.isnan(scores), -np.inf, scores)

    def of_logits(self, logits: NDArray[np.float32]) -> Floats:
        """The score of each image [N], of the logits [M, N, K] of all the manifest's members."""
        return self.score(self.log_probs(logits), self.full)

    def log_probs(self, logits: NDArray[np.float32]) -> Floats:
        """log softmax(logits / temperature) of the score's members."""
        scaled = logits[self.members] / self.temperatures
        scaled -= scaled.max(axis=2, keepdims=True)
        log_probs: Floats = scaled - np.log(np.exp(scaled).sum(axis=2, keepdims=True))
        return log_probs


@dataclass(frozen=True)
class Detector:
    """A score and its threshold, as a manifest has them."""

    scorer: Scorer
    threshold: float

    @classmethod
    def of(cls, manifest: Manifest) -> Self | None:
        """The detector of a manifest; None where it has no threshold."""
        chosen = manifest.detection
        return None if chosen is None else cls(Scorer.of(manifest, chosen.score, chosen.members), chosen.threshold)

    def __call__(self, prediction: Prediction) -> list[bool | None]:
        """Whether the score of each image [N] is above the threshold; None where a member that it needs has no vote."""
        known = (prediction.votes[self.scorer.members] != NO_VOTE).all(axis=0).tolist()
        if not any(known):  # as in a quorum that was reached: nothing to compute
            return [None] * len(known)
        above = (self.scorer.of_logits(prediction.logits) > self.threshold).tolist()
        return [flag if is_known else None for flag, is_known in zip(above, known, strict=True)]


def suspicious(manifest: Manifest, prediction: Prediction, image: int = 0) -> bool | None:
    """Whether an image's score is above the manifest's threshold.

    None where there is no threshold, or a member that the score needs has no vote: it failed, or a quorum skipped it.
    """
    detector = Detector.of(manifest)
    return None if detector is None else detector(prediction)[image]


def favourite(probs: Floats) -> NDArray[np.int64]:
    """The class [N] of the largest mean of probs [M, N, K]."""
    return np.asarray(probs.mean(axis=0).argmax(axis=1))


def _gap(values: Floats, classes: NDArray[np.int64], full: Mask) -> Floats:
    rows = np.arange(len(classes))
    others = values.copy()
    others[:, rows, classes] = -np.inf
    margins = values[:, rows, classes] - others.max(axis=2)
    return np.asarray(np.abs(margins[full].mean(axis=0) - margins[~full].mean(axis=0)))
