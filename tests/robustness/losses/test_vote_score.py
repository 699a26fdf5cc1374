"""One score a class: its gradient, and that its largest is always the verdict's."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robustness.losses.vote_score import FAR_BELOW, ScoreName, VoteScore, crowned, vote_score
from runtime.manifest import Vote
from runtime.vote import NO_VOTE
from tests.linear_victim import linear_victim

CLASSES = 4
TEMPERATURES = np.array([0.8, 1.5, 2.0])
MAJORITIES = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
SCORES = {"mean": VoteScore(TEMPERATURES, None), "vote": VoteScore(TEMPERATURES, MAJORITIES)}
A_VICTIM = [[(1.0, 0.0, 0.0)] * 4] * 3, [(1.0, 0.0, 0.0)] * 3

tables = st.integers(1, 6).flatmap(
    lambda classes: hnp.arrays(np.float64, (2, classes), elements=st.floats(-1e4, 1e4, width=32))
)


@given(tables, st.data())
def test_the_largest_score_is_the_verdicts(scores: np.ndarray, data: st.DataObject) -> None:
    n_classes = scores.shape[1]
    verdict = np.array(data.draw(st.lists(st.integers(NO_VOTE, n_classes - 1), min_size=2, max_size=2)))
    seen = crowned(scores, verdict)
    assert seen.dtype == np.float32 and seen.shape[1] >= max(4, n_classes + 1)
    winner = np.where(verdict == NO_VOTE, n_classes, verdict)
    np.testing.assert_array_equal(seen.argmax(axis=1), winner)
    ordered = np.sort(seen, axis=1)
    assert (ordered[:, -1] > ordered[:, -2]).all()


def test_scores_that_agree_with_the_vote_are_left_alone() -> None:
    scores = np.array([[-3.0, -1.0, -2.0], [-1.0, -1.5, -4.0]])
    seen = crowned(scores, np.array([1, 0]))
    np.testing.assert_array_equal(seen[:, :3], scores)
    np.testing.assert_array_equal(seen[:, 3], scores.min(axis=1) - FAR_BELOW)


def test_a_verdict_against_the_scores_is_just_above_them() -> None:
    seen = crowned(np.array([[-3.0, -1.0, -2.0]]), np.array([2]))
    assert -1 < seen[0, 2] < -0.999
    np.testing.assert_array_equal(seen[0, :2], [-3, -1])


@pytest.mark.parametrize("name", get_args(ScoreName))
def test_the_gradient_is_that_of_the_same_formula_in_torch(name: ScoreName) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (3, 5, CLASSES)).astype(np.float32)
    pulls = generator.normal(size=(5, CLASSES))
    z = torch.from_numpy(logits.astype(np.float64)).requires_grad_()
    log_probs = torch.log_softmax(z / torch.from_numpy(TEMPERATURES)[:, None, None], dim=2)
    if name == "mean":
        expected = log_probs.exp().mean(dim=0).log()
    else:
        pairs = [-2 * torch.logsumexp(-log_probs[[i, j]] / 2, dim=0) for i, j in ((0, 1), (0, 2), (1, 2))]
        expected = 2 * torch.logsumexp(torch.stack(pairs) / 2, dim=0)
    (gradient,) = torch.autograd.grad((expected * torch.from_numpy(pulls)).sum(), z)
    np.testing.assert_allclose(SCORES[name].values(logits), expected.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(SCORES[name].cotangents(logits, pulls), gradient.numpy(), atol=1e-6)


def test_of_a_saturated_ensemble_the_gradient_is_left() -> None:
    logits = np.array([[[400, 0, -9, -9]]] * 3, dtype=np.float32)
    pulls = np.array([[-1.0, 1.0, 0, 0]])
    for score in SCORES.values():
        assert np.abs(score.cotangents(logits, pulls)).max() > 0.1


def test_when_one_of_three_has_fallen_the_vote_follows_the_others() -> None:
    """The mean moves by the sure one alone, which has nothing left to give."""
    logits = np.array([[[0, 30, 0, 0]], [[30, 0, 0, 0]], [[30, 0, 0, 0]]], dtype=np.float32)
    towards = np.array([[0.0, 1.0, 0, 0]])
    assert np.abs(SCORES["mean"].cotangents(logits, towards)[1:]).max() < 1e-6
    assert np.abs(SCORES["vote"].cotangents(logits, towards)[1:, 0, 1]).min() > 0.05


def test_of_one_member_it_is_its_log_probabilities() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (1, 5, CLASSES)).astype(np.float32)
    alone = VoteScore(np.array([1.5]), np.ones((1, 1), dtype=bool))
    expected = torch.log_softmax(torch.from_numpy(logits[0]) / 1.5, dim=1)
    np.testing.assert_allclose(alone.values(logits), expected.numpy(), atol=1e-5)


def test_the_average_rule_is_scored_by_the_average() -> None:
    assert vote_score("vote", linear_victim(*A_VICTIM, Vote(rule="average"))).groups is None
    assert vote_score("mean", linear_victim(*A_VICTIM)).groups is None
    groups = vote_score("vote", linear_victim(*A_VICTIM)).groups
    assert groups is not None and groups.shape == (3, 3)
