"""Goals: which classes an attack tries, and for which image."""

import numpy as np

from robustness.losses.goals import ANY_OTHER, as_asked, every_class

LABELS, TARGETS = np.array([2, 0, 1]), np.array([ANY_OTHER, 1, ANY_OTHER])


def test_as_asked_is_one_goal_for_each_image() -> None:
    goals = as_asked(LABELS, TARGETS)
    assert (goals.source.tolist(), goals.label.tolist(), goals.target.tolist()) == ([0, 1, 2], [2, 0, 1], [-1, 1, -1])


def test_every_class_is_tried_unless_one_is_asked_for() -> None:
    goals = every_class(LABELS, TARGETS, np.zeros((3, 3, 4), np.float32))
    tried = [sorted(goals.target[goals.source == image].tolist()) for image in range(3)]
    assert tried == [[ANY_OTHER, 0, 1, 3], [1], [ANY_OTHER, 0, 2, 3]]
    assert goals.label.tolist() == LABELS[goals.source].tolist()


def test_of_many_classes_the_likeliest_are_tried() -> None:
    """By the mean of the members' logits; the label is none of them."""
    logits = np.stack([np.arange(12), -0.1 * np.arange(12)]).astype(np.float32)[:, None]
    goals = every_class(np.array([11]), np.array([ANY_OTHER]), logits, most_classes=4)
    assert goals.target.tolist() == [10, 9, 8, 7, ANY_OTHER]


def test_goals_are_repeated_and_chosen_with_all_that_belongs_to_them() -> None:
    goals = as_asked(LABELS, TARGETS).repeated(2)
    assert len(goals) == 6 and goals.source.tolist() == [0, 0, 1, 1, 2, 2]
    kept = goals.where(np.array([False, True, True, False, False, True]))
    assert (kept.source.tolist(), kept.label.tolist(), kept.target.tolist()) == ([0, 1, 2], [2, 0, 1], [-1, 1, -1])
