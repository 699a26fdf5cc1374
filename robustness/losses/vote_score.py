"""One score a class for an ensemble that votes: what a library that knows nothing of members attacks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustness.losses.coalitions import coalitions
from robustness.losses.over_members import nearest
from robustness.losses.terms import Floats, log_softmax, log_sum_exp
from robustness.victim import Array, Victim
from runtime.vote import NO_VOTE, Classes

ScoreName = Literal["vote", "mean"]

SMOOTHNESS = 2.0
FAR_BELOW = 100.0
"""The score of a class that nobody can choose, under the lowest: its probability is 0 in float32."""
LEAD = 1e-5
"""What the verdict is raised above the others, as a share of their size: more than float32 rounds away."""
NEGLIGIBLE = 1e-6
"""A member whose share of an image's gradient is smaller is not asked for it."""


@dataclass(frozen=True)
class VoteScore:
    """Scores of classes, smooth in the members' logits.

    mean: the logarithm of the mean probability. vote: the log probability that a majority for the class hangs on, a
    smooth maximum over the coalitions that can make it the verdict of the smooth minimum in each; of three members
    about the second largest. Where two members of three must fall, `mean` hardly moves any more when one has fallen
    and is sure; `vote` then follows the others. Of a single member both are its log probabilities.
    """

    temperatures: Floats
    groups: NDArray[np.bool_] | None
    """Coalitions [S, M]; None for the mean."""

    def values(self, logits: Array) -> Floats:
        """Scores [B, K] of logits [M, B, K]."""
        return self._combined(self._log_probs(logits))[0]

    def cotangents(self, logits: Array, pulls: Floats) -> Floats:
        """d(sum of pulls [B, K] . scores)/d(logits), [M, B, K]."""
        log_probs = self._log_probs(logits)
        pulled = self._combined(log_probs)[1] * pulls
        slope = pulled - np.exp(log_probs) * pulled.sum(axis=2, keepdims=True)
        return np.asarray(slope / self.temperatures[:, None, None])

    def _log_probs(self, logits: Array) -> Floats:
        return log_softmax(logits / self.temperatures[:, None, None])

    def _combined(self, log_probs: Floats) -> tuple[Floats, Floats]:
        """The scores [B, K], and their gradient with respect to each member's log probability of the class itself."""
        if self.groups is None:
            total = log_sum_exp(log_probs, axis=0)
            return total - np.log(len(log_probs)), np.exp(log_probs - total)
        values, weights = nearest(log_probs.reshape(len(log_probs), -1) / SMOOTHNESS, self.groups)
        return SMOOTHNESS * values.reshape(log_probs.shape[1:]), weights.reshape(log_probs.shape)


def vote_score(name: ScoreName, victim: Victim) -> VoteScore:
    """The score of this name for a victim; with the `average` vote, which is decided by the mean, always that."""
    ensemble = victim.ensemble
    if name == "mean" or ensemble.tie_breaker is None or ensemble.vote.rule == "average":
        return VoteScore(victim.temperatures, None)
    return VoteScore(victim.temperatures, coalitions(victim.n_members, ensemble.tie_breaker).majorities)


def crowned(scores: Floats, verdict: Classes) -> Array:
    """Scores float32 [B, K'] of which the verdict's [B] is the only largest, for scores [B, K].

    K' > K: a further class stands for the lack of a verdict, so that abstaining is no class of the data and never the
    label; it lies far below the others until then. Of fewer than three classes there are more of them, because some
    losses sort four. Where the verdict's score is not the largest by itself it is raised to just above the others.
    """
    rows, n_classes = np.arange(len(scores)), scores.shape[1]
    below = np.repeat(scores.min(axis=1, keepdims=True) - FAR_BELOW, max(1, 4 - n_classes), axis=1)
    result = np.concatenate([scores, below], axis=1).astype(np.float32)
    winner = np.where(verdict == NO_VOTE, n_classes, verdict)
    others = result.copy()
    others[rows, winner] = -np.inf
    highest = others.max(axis=1)
    lead = (LEAD * np.maximum(np.abs(highest), 1)).astype(np.float32)
    result[rows, winner] = np.maximum(result[rows, winner], highest + lead)
    return result
