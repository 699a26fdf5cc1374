"""Coalitions are exactly the ways in which few members can turn the vote, by brute force over all votes."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from robustness.losses.coalitions import coalitions

LABEL, N_CLASSES = 0, 3
Votes = tuple[int, ...]
Group = list[int]


def all_votes(members: int) -> Iterator[Votes]:
    return product(range(N_CLASSES), repeat=members)


def verdict_of(votes: Votes, tie_breaker: int) -> int:
    """The rule of design.md: more than half of all, else the tie-breaker."""
    return next((v for v in votes if votes.count(v) > len(votes) / 2), votes[tie_breaker])


def groups_of(rows: NDArray[np.bool_]) -> list[Group]:
    return [np.flatnonzero(row).tolist() for row in rows]


def agree(votes: Votes, group: Group, target: int) -> bool:
    return all(votes[member] == target for member in group)


def leave(votes: Votes, group: Group) -> bool:
    return all(votes[member] != LABEL for member in group)


@pytest.mark.parametrize("members", range(1, 6))
def test_a_verdict_is_wrong_if_and_only_if_a_coalition_has_its_way(members: int) -> None:
    for tie_breaker in range(members):
        found = coalitions(members, tie_breaker)
        majorities, splits = groups_of(found.majorities), groups_of(found.splits)
        for votes in all_votes(members):
            verdict = verdict_of(votes, tie_breaker)
            turned = any(agree(votes, group, t) for group in majorities for t in range(N_CLASSES) if t != LABEL)
            split = any(leave(votes, group) for group in splits)
            assert (turned or split) == (verdict != LABEL), (tie_breaker, votes)
            assert not turned or verdict != LABEL
            for target in range(N_CLASSES):
                assert verdict == target or not any(agree(votes, group, target) for group in majorities)


@pytest.mark.parametrize("members", range(1, 6))
def test_no_coalition_has_a_member_too_many(members: int) -> None:
    """Whichever member is spared, there are votes of the others with which the attack fails."""
    for tie_breaker in range(members):
        found = coalitions(members, tie_breaker)
        for group in groups_of(found.majorities):
            for spared in group:
                rest = [member for member in group if member != spared]
                assert any(
                    agree(votes, rest, 1) and verdict_of(votes, tie_breaker) != 1 for votes in all_votes(members)
                )
        for group in groups_of(found.splits):
            for spared in group:
                rest = [member for member in group if member != spared]
                assert any(
                    leave(votes, rest) and verdict_of(votes, tie_breaker) == LABEL for votes in all_votes(members)
                )


def test_of_three_any_two_decide_and_a_split_needs_the_tie_breaker() -> None:
    found = coalitions(3, tie_breaker=2)
    assert sorted(groups_of(found.majorities)) == [[0, 1], [0, 2], [1, 2]]
    assert sorted(groups_of(found.splits)) == [[0, 2], [1, 2]]
