"""Coalitions: the smallest groups of members that can turn the vote."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Coalitions:
    """Rows of members, bool [S, M] each.

    majorities: if all of one vote t, the verdict is t; of an even number of members half is enough with the
    tie-breaker. splits: if none of one votes the label, the verdict is not the
    label: the tie-breaker, and so many others that no majority is left for it.
    """

    majorities: NDArray[np.bool_]
    splits: NDArray[np.bool_]


def coalitions(members: int, tie_breaker: int) -> Coalitions:
    """The coalitions of EMPIR's vote with so many members.

    >>> coalitions(3, tie_breaker=0).majorities.astype(int).tolist()
    [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    >>> coalitions(3, tie_breaker=0).splits.astype(int).tolist()
    [[1, 1, 0], [1, 0, 1]]
    """
    others = [member for member in range(members) if member != tie_breaker]
    without_majority = members - members // 2  # so many may not vote the label
    majorities = [group for group in combinations(range(members), (members + 1) // 2) if tie_breaker in group]
    majorities += [group for group in combinations(range(members), members // 2 + 1) if tie_breaker not in group]
    splits = [(tie_breaker, *rest) for rest in combinations(others, without_majority - 1)]
    return Coalitions(_rows(majorities, members), _rows(splits, members))


def _rows(groups: list[tuple[int, ...]], members: int) -> NDArray[np.bool_]:
    rows = np.zeros((len(groups), members), dtype=bool)
    for row, group in enumerate(groups):
        rows[row, list(group)] = True
    return rows
