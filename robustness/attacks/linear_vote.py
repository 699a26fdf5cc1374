"""A vote of linear margins, and the smallest step that turns it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from robustness.losses.coalitions import Coalitions
from robustness.norms import NORMS, NormName
from robustness.victim import Array

Values = NDArray[np.float64]
SHARES = 12
"""In how many parts the weight is split among the voters of a coalition."""


@dataclass(frozen=True)
class LinearVote:
    """Margins of V voters, for B images, to T classes each: they change by the slope times the step."""

    margin: Values
    """[V, B, T]"""
    slope: Array
    """[V, B, T, C, H, W]"""
    away: NDArray[np.bool_]
    """[V, B], whether a voter does not vote for the label any more."""

    def step(self, groups: Coalitions, norm: NormName, nudge: float) -> Array:
        """The shortest step [B, C, H, W] in this norm, `nudge` longer, after which no voter of a coalition resists it.

        The voters of a coalition all have to turn. What that takes is the most that any mixture of their margins takes
        (duality of norms), and the step is the mixture's steepest. Mixtures are tried on a grid, so it may fall short
        for one voter by a little; the attack goes on then. 0 where no coalition can move.
        """
        distance = _distance(self.margin, self.slope, norm)  # [V, B, T]
        rival = distance.argmin(axis=2)[:, :, None]
        apart = LinearVote(
            np.where(self.away[:, :, None], 0, np.take_along_axis(self.margin, rival, axis=2)),
            np.take_along_axis(self.slope, rival[..., None, None, None], axis=2),
            self.away,
        )
        best = np.full(self.margin.shape[1], np.inf)
        direction = np.zeros_like(self.slope[0, :, 0])
        rows = np.arange(len(best))
        for vote, members in ((self, groups.majorities), (apart, groups.splits)):
            for group in members:
                length, mixed = vote._turned(group, norm)
                aim = length.argmin(axis=1)
                nearer = length[rows, aim] < best
                best[nearer], direction[nearer] = length[rows, aim][nearer], mixed[rows, aim][nearer]
        length = np.where(np.isfinite(best), best + nudge, 0).astype(np.float32)
        return np.asarray(length[:, None, None, None] * NORMS[norm].steepest(direction))

    def _turned(self, group: NDArray[np.bool_], norm: NormName) -> tuple[Values, Array]:
        """What it takes to turn these voters together, [B, T], and the slope [B, T, C, H, W] along which."""
        margin, slope = self.margin[group], self.slope[group]
        length, direction = np.full(margin.shape[1:], -1.0), np.zeros_like(slope[0])
        for shares in _mixtures(len(margin)):
            mixed = np.tensordot(shares, slope, axes=1).astype(np.float32)
            needed = _distance(np.tensordot(shares, margin, axes=1), mixed, norm)
            farther = needed > length
            length[farther], direction[farther] = needed[farther], mixed[farther]
        return length, direction


def _distance(margin: Values, slope: Array, norm: NormName) -> Values:
    """How far a linear margin [...] with slopes [..., C, H, W] is from 0; 0 beyond it, inf where it cannot move."""
    flat = slope.reshape(*margin.shape, -1)
    if norm == "linf":
        dual = np.abs(flat).sum(axis=-1, dtype=np.float64)
    else:
        dual = np.sqrt(np.einsum("...p,...p->...", flat, flat, dtype=np.float64))
    lacking = np.maximum(-margin, 0)
    return np.asarray(np.divide(lacking, dual, out=np.where(lacking > 0, np.inf, 0.0), where=dual > 0))


def _mixtures(voters: int) -> Iterator[Values]:
    """All ways to share out a weight of 1 among so many voters in SHARES equal parts.

    >>> len(list(_mixtures(2))), next(_mixtures(2)).tolist()
    (13, [0.0, 1.0])
    """
    for bars in combinations(range(SHARES + voters - 1), voters - 1):
        places = (-1, *bars, SHARES + voters - 1)
        yield np.array([right - left - 1 for left, right in pairwise(places)]) / SHARES
