"""Goals: the joint targeted ones are exactly the ways in which the vote can turn, by brute force over all votes."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from robustness.goals import ANY_OTHER, Goals, joint, whole_ensemble

N_CLASSES = 3
Votes = tuple[int, ...]


def verdict_of(votes: Votes, tie_breaker: int) -> int:
    """The rule of design.md: more than half of all, else the tie-breaker."""
    return next((v for v in votes if votes.count(v) > len(votes) / 2), votes[tie_breaker])


def is_wanted(votes: Votes, goals: Goals, column: int, without: int | None = None) -> bool:
    """Whether the coalition, perhaps without one of it, votes as the goal wants."""
    label, target = goals.label[column], goals.target[column]
    coalition = [m for m in np.flatnonzero(goals.coalition[:, column]) if m != without]
    return all(votes[m] != label if target == ANY_OTHER else votes[m] == target for m in coalition)


def is_success(votes: Votes, tie_breaker: int, goals: Goals, column: int) -> bool:
    verdict, target = verdict_of(votes, tie_breaker), goals.target[column]
    return bool(verdict != goals.label[column] if target == ANY_OTHER else verdict == target)


def all_votes(members: int) -> Iterator[Votes]:
    return product(range(N_CLASSES), repeat=members)


def joint_goals(members: int, tie_breaker: int, label: int, target: int = ANY_OTHER) -> Goals:
    logits = np.random.default_rng(0).standard_normal((members, 1, N_CLASSES)).astype(np.float32)
    return joint(np.array([label]), np.array([target]), logits, tie_breaker)


@pytest.mark.parametrize("members", range(1, 6))
def test_a_verdict_is_wrong_if_and_only_if_a_goal_is_reached(members: int) -> None:
    for tie_breaker, label in product(range(members), range(N_CLASSES)):
        goals = joint_goals(members, tie_breaker, label)
        for votes in all_votes(members):
            reached = any(is_wanted(votes, goals, column) for column in range(len(goals)))
            assert reached == (verdict_of(votes, tie_breaker) != label), (tie_breaker, label, votes)


@pytest.mark.parametrize("members", range(1, 6))
def test_no_coalition_has_a_member_too_many(members: int) -> None:
    for tie_breaker in range(members):
        goals = joint_goals(members, tie_breaker, label=0)
        for column in range(len(goals)):
            for spared in np.flatnonzero(goals.coalition[:, column]).tolist():
                assert any(
                    is_wanted(votes, goals, column, without=spared)
                    and not is_success(votes, tie_breaker, goals, column)
                    for votes in all_votes(members)
                )


@pytest.mark.parametrize("members", range(1, 6))
def test_with_a_target_every_goal_makes_it_the_verdict(members: int) -> None:
    goals = joint_goals(members, 0, label=0, target=2)
    assert set(goals.target.tolist()) == {2}
    for votes in all_votes(members):
        for column in range(len(goals)):
            if is_wanted(votes, goals, column):
                assert is_success(votes, 0, goals, column)


def test_goals_of_several_images_keep_their_image() -> None:
    labels, targets = np.array([2, 0, 1]), np.array([ANY_OTHER, 1, ANY_OTHER])
    goals = joint(labels, targets, np.zeros((3, 3, N_CLASSES), np.float32), 0)
    assert goals.label.tolist() == labels[goals.source].tolist()
    by_image = [goals.where(goals.source == image) for image in range(3)]
    assert [len(each) for each in by_image] == [8, 3, 8]  # 2 other classes x 3 majorities of 2, and 2 splits
    for image, each in enumerate(by_image):
        alone = joint(labels[[image]], targets[[image]], np.zeros((3, 1, N_CLASSES), np.float32), 0)
        assert each.target.tolist() == alone.target.tolist()
        np.testing.assert_array_equal(each.coalition, alone.coalition)


def test_of_many_classes_the_likeliest_are_tried() -> None:
    logits = np.stack([np.arange(12), np.arange(12)[::-1] * 0.1]).astype(np.float32)[:, None]
    goals = joint(np.array([11]), np.array([ANY_OTHER]), logits, None, most_classes=4)
    assert sorted(set(goals.target.tolist())) == [7, 8, 9, 10]


def test_without_a_tie_breaker_there_is_no_split() -> None:
    goals = joint(np.array([0]), np.array([ANY_OTHER]), np.zeros((3, 1, 3), np.float32), None)
    assert ANY_OTHER not in goals.target.tolist()


def test_the_whole_ensemble_is_one_goal_for_each_image() -> None:
    goals = whole_ensemble(np.array([2, 0]), np.array([ANY_OTHER, 1]), members=3)
    assert len(goals) == 2 and goals.coalition.all() and goals.source.tolist() == [0, 1]
    twice = goals.repeated(2)
    assert (twice.source.tolist(), twice.target.tolist()) == ([0, 0, 1, 1], [ANY_OTHER, ANY_OTHER, 1, 1])
    assert twice.coalition.shape == (3, 4)
