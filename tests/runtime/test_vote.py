"""The vote against the rule as design.md tells it, in plain Python."""

import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.vote import NO_VOTE, Classes, Probs, average_verdict, majority, majority_verdict, softmax

N_CLASSES = 3
ballots = st.tuples(st.integers(1, 7), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(NO_VOTE, N_CLASSES - 1))
)


def class_with_more_than_half(votes: list[int], members: int) -> int:
    """The rule, word for word; a member without a vote counts among all."""
    for label, count in Counter(votes).items():
        if label != NO_VOTE and count > members / 2:
            return label
    return NO_VOTE


@given(ballots, st.integers(0, 3))
def test_majority_is_more_than_half_of_all_members(votes: Classes, not_asked: int) -> None:
    members = len(votes) + not_asked
    expected = [class_with_more_than_half(column, members) for column in votes.T.tolist()]
    assert majority(votes, members).tolist() == expected


@given(ballots, st.data())
def test_without_a_majority_the_tie_breaker_decides(votes: Classes, data: st.DataObject) -> None:
    tie_breaker = data.draw(st.integers(0, len(votes) - 1))
    expected = []
    for column in votes.T.tolist():
        leader = class_with_more_than_half(column, len(column))
        expected.append(column[tie_breaker] if leader == NO_VOTE else leader)
    assert majority_verdict(votes, tie_breaker).tolist() == expected


@given(st.data())
def test_average_is_the_largest_mean_of_the_live(data: st.DataObject) -> None:
    members, images = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 4)))
    # Eighths add up exactly, so equal means are equal in any order of adding.
    probs: Probs = data.draw(arrays(np.float32, (members, images, 3), elements=st.integers(0, 8).map(lambda n: n / 8)))
    live = data.draw(arrays(np.bool_, (members, images)))
    expected = []
    for image in range(images):
        rows = [probs[m, image].tolist() for m in range(members) if live[m, image]]
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        expected.append(means.index(max(means)) if rows else NO_VOTE)
    assert average_verdict(probs, live).tolist() == expected


@given(arrays(np.float32, (5,), elements=st.floats(-1e4, 1e4, width=32)), st.sampled_from([0.25, 1.0, 3.0]))
def test_softmax_is_that_of_the_logits_over_the_temperature(
    logits: np.ndarray[tuple[int], np.dtype[np.float32]], temperature: float
) -> None:
    largest = max(logits.tolist())
    weights = [math.exp((z - largest) / temperature) for z in logits.tolist()]
    np.testing.assert_allclose(
        softmax(logits, np.float32(temperature)), [w / sum(weights) for w in weights], rtol=2e-3, atol=1e-7
    )
