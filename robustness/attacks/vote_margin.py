"""How near a vote is to turning: the margins of its voters to each class, and of the coalitions that can turn it.

A voter is a member, or under the average rule all members together. Its margin to a class is positive exactly where it
votes for that class, and the margin of the vote exactly where the verdict is not the label.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robustness.losses.coalitions import Coalitions, coalitions
from robustness.losses.over_members import nearest
from robustness.losses.terms import log_softmax, log_sum_exp
from robustness.victim import Victim
from runtime.errors import InvalidValue

Logits = NDArray[np.float32]
Classes = NDArray[np.int64]
Margins = NDArray[np.float64]

FAR = -1e9
"""Of the label as a goal: farther than any other, and still a number to calculate with."""


class Voters(Protocol):
    """V voters; logits are [M, B, K]."""

    @property
    def groups(self) -> Coalitions:
        """Those of voters that can turn the vote."""
        ...

    def margins(self, logits: Logits) -> Margins:
        """What each voter gives to each class more than to the best other one, [V, B, K]."""
        ...

    def cotangents(self, logits: Logits, weights: Margins) -> Logits:
        """d(sum of weights [V, B, K] . margins)/d(logits), [M, B, K]."""
        ...


@dataclass(frozen=True)
class MemberVoters:
    """Some members, each with a vote of its own: margins of logits over temperature, the log ratios of its probs."""

    members: list[int]
    temperatures: NDArray[np.float64]
    """[V]"""
    groups: Coalitions

    def margins(self, logits: Logits) -> Margins:
        return _over_rivals(logits[self.members] / self.temperatures[:, None, None])

    def cotangents(self, logits: Logits, weights: Margins) -> Logits:
        cotangents = np.zeros(logits.shape, dtype=np.float32)
        slope = _less_rivals(weights, logits[self.members].astype(np.float64))
        cotangents[self.members] = slope / self.temperatures[:, None, None]
        return cotangents


@dataclass(frozen=True)
class AverageVoter:
    """All members as one voter, which prefers the class with the larger mean of probs: margins of its logarithm."""

    temperatures: NDArray[np.float64]
    """[M]"""
    groups: Coalitions

    def margins(self, logits: Logits) -> Margins:
        return _over_rivals(log_sum_exp(log_softmax(logits / self.temperatures[:, None, None]), axis=0)[None])

    def cotangents(self, logits: Logits, weights: Margins) -> Logits:
        log_probs = log_softmax(logits / self.temperatures[:, None, None])
        total = log_sum_exp(log_probs, axis=0)
        # d log(sum_m p_mt) / d z_m = r_mt (e_t - p_m) / T_m, where r_mt is the member's share of the sum
        moved = np.exp(log_probs - total) * _less_rivals(weights, total[None])
        slope = moved - np.exp(log_probs) * moved.sum(axis=2, keepdims=True)
        return np.asarray(slope / self.temperatures[:, None, None], dtype=np.float32)


def voters_of(victim: Victim, member: str | None = None) -> Voters:
    """The voters of the served vote, or one member alone, with its plain logits.

    Raises InvalidValue if there is no member of that name.
    """
    ensemble = victim.ensemble
    names = [each.name for each in ensemble.members]
    if member is not None and member not in names:
        raise InvalidValue(f"member: expected {' or '.join(names)}, got {member!r}")
    if member is not None:
        return MemberVoters([names.index(member)], np.ones(1), coalitions(1, 0))
    if ensemble.tie_breaker is None or ensemble.vote.rule == "average":
        return AverageVoter(victim.temperatures, coalitions(1, 0))
    groups = coalitions(len(names), ensemble.tie_breaker)
    return MemberVoters(list(range(len(names))), victim.temperatures, groups)


def vote_margin(margins: Margins, labels: Classes, groups: Coalitions) -> Margins:
    """The margin of the vote [B], of `margins` [V, B, K]: the best coalition's, which is that of its farthest voter."""
    together, apart = _goals(margins, labels)
    worth = [
        _worth(goals, members).max(axis=0) for goals, members in ((together, groups.majorities), (apart, groups.splits))
    ]
    return np.asarray(np.column_stack(worth).max(axis=1))


def smooth_vote_margin(
    margins: Margins, labels: Classes, groups: Coalitions, smoothness: float
) -> tuple[Margins, Margins]:
    """A smooth stand-in for the margin of the vote, [B], and its gradient: weights [V, B, K].

    The joint loss of the best goal: in each coalition a smooth minimum over its voters, over the coalitions a smooth
    maximum, over the goals, which are the classes and to leave the label, the maximum itself. So it moves as long as
    any voter does that could help.
    """
    n_voters, n_images, n_classes = margins.shape
    together, apart = _goals(margins, labels)
    common, common_weights = nearest(together.reshape(n_voters, -1) / smoothness, groups.majorities)
    left, left_weights = nearest(apart[:, :, 0] / smoothness, groups.splits)
    values = np.column_stack([common.reshape(n_images, n_classes), left])
    goal = values.argmax(axis=1)
    goal_weights = np.concatenate([common_weights.reshape(margins.shape), -left_weights[:, :, None]], axis=2)
    weights = np.zeros(margins.shape)
    rows, column = np.arange(n_images), np.where(goal < n_classes, goal, labels)
    weights[:, rows, column] = goal_weights[:, rows, goal]
    return smoothness * values[rows, goal], weights


def _goals(margins: Margins, labels: Classes) -> tuple[Margins, Margins]:
    """How near each voter is to each other class, [V, B, K], and to any but the label, [V, B, 1]."""
    together, rows = margins.copy(), np.arange(len(labels))
    together[:, rows, labels] = FAR
    return together, -margins[:, rows, labels][:, :, None]


def _worth(margins: Margins, groups: NDArray[np.bool_]) -> Margins:
    """The smallest margin in each coalition, [S, B, K]."""
    worth: Margins = np.where(groups[:, :, None, None], margins[None], np.inf).min(axis=1)
    return worth


def _rivals(scores: Margins) -> NDArray[np.intp]:
    """Of each class the best other one, [V, B, K]."""
    order = np.argsort(-scores, axis=2, kind="stable")
    first, second = order[:, :, :1], order[:, :, 1:2]
    return np.where(np.arange(scores.shape[2]) == first, second, first)


def _over_rivals(scores: Margins) -> Margins:
    return np.asarray(scores - np.take_along_axis(scores, _rivals(scores), axis=2))


def _less_rivals(weights: Margins, scores: Margins) -> Margins:
    """What is gained by a class is lost by its rival."""
    balanced, rivals = weights.copy(), _rivals(scores)
    voters, images = np.arange(len(weights))[:, None, None], np.arange(weights.shape[1])[None, :, None]
    np.subtract.at(balanced, (voters, images, rivals), weights)
    return balanced
