"""The margin of the vote against the vote itself, and its gradient against autograd."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from robustness.attacks.vote_margin import AverageVoter, MemberVoters, smooth_vote_margin, vote_margin, voters_of
from robustness.losses.coalitions import coalitions
from robustness.victim import Victim
from runtime.errors import InvalidValue
from runtime.manifest import Vote
from runtime.vote import average_verdict, majority_verdict, softmax
from tests.linear_victim import planted_victim
from tests.smallest_changes import alike


@dataclass
class Case:
    """Logits [M, B, K] of members with temperatures [M], labels [B], and who breaks ties."""

    logits: NDArray[np.float32]
    temperatures: NDArray[np.float64]
    labels: NDArray[np.int64]
    tie_breaker: int

    def members(self) -> MemberVoters:
        members = len(self.logits)
        return MemberVoters(list(range(members)), self.temperatures, coalitions(members, self.tie_breaker))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Distinct logits: who votes what is plain."""
    members, rows, classes = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(2, 5))
    elements = st.integers(-300, 300).map(lambda n: n / 32)
    return Case(
        draw(arrays(np.float32, (members, rows, classes), elements=elements, unique=True)),
        np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=members, max_size=members))),
        np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))),
        draw(st.integers(0, members - 1)),
    )


@given(cases())
def test_a_majoritys_margin_is_positive_exactly_where_the_verdict_is_not_the_label(case: Case) -> None:
    voters = case.members()
    margin = vote_margin(voters.margins(case.logits), case.labels, voters.groups)
    verdict = majority_verdict(case.logits.argmax(axis=2), case.tie_breaker)
    assert ((margin > 0) == (verdict != case.labels)).all()


@given(cases())
def test_an_averages_margin_is_positive_exactly_where_the_verdict_is_not_the_label(case: Case) -> None:
    voter = AverageVoter(case.temperatures, coalitions(1, 0))
    margin = vote_margin(voter.margins(case.logits), case.labels, voter.groups)
    probs = softmax(case.logits, case.temperatures[:, None, None].astype(np.float32))
    verdict = average_verdict(probs, np.ones(probs.shape[:2], dtype=bool))
    decided = np.abs(margin) > 1e-5
    assert ((margin > 0) == (verdict != case.labels))[decided].all()


def autograds(case: Case, weights: NDArray[np.float64], average: bool) -> NDArray[np.float64]:
    """d(sum of weights . margins)/d(logits) by torch."""
    logits = torch.from_numpy(case.logits.astype(np.float64)).requires_grad_()
    scaled = logits / torch.from_numpy(case.temperatures)[:, None, None]
    scores = torch.softmax(scaled, dim=2).mean(dim=0, keepdim=True).log() if average else scaled
    classes = scores.shape[2]
    others = [torch.cat([scores[:, :, :k], scores[:, :, k + 1 :]], dim=2).amax(dim=2) for k in range(classes)]
    margins = scores - torch.stack(others, dim=2)
    (gradient,) = torch.autograd.grad((margins * torch.from_numpy(weights)).sum(), logits)
    return np.asarray(gradient.numpy())


@given(cases(), st.booleans(), st.integers(0, 2**16))
def test_cotangents_are_autograds(case: Case, average: bool, seed: int) -> None:
    voters = AverageVoter(case.temperatures, coalitions(1, 0)) if average else case.members()
    weights = np.random.default_rng(seed).standard_normal(voters.margins(case.logits).shape)
    found = voters.cotangents(case.logits, weights)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, autograds(case, weights, average), atol=1e-5)


@given(cases())
def test_the_smooth_margin_becomes_the_margin(case: Case) -> None:
    """It differs by no more than the smoothness times the logarithms of the numbers of voters and coalitions."""
    voters, smoothness = case.members(), 1e-3
    margins = voters.margins(case.logits)
    smooth, _ = smooth_vote_margin(margins, case.labels, voters.groups, smoothness)
    np.testing.assert_allclose(smooth, vote_margin(margins, case.labels, voters.groups), atol=4 * smoothness)


@given(cases(), st.sampled_from([0.5, 2.0]), st.integers(0, 2**16))
def test_the_smooth_margins_weights_are_its_gradient(case: Case, smoothness: float, seed: int) -> None:
    voters, change = case.members(), 1e-5
    margins = voters.margins(case.logits)
    way = np.random.default_rng(seed).standard_normal(margins.shape)
    value, weights = smooth_vote_margin(margins, case.labels, voters.groups, smoothness)
    there, _ = smooth_vote_margin(margins + change * way, case.labels, voters.groups, smoothness)
    back, _ = smooth_vote_margin(margins - change * way, case.labels, voters.groups, smoothness)
    np.testing.assert_allclose(np.abs(weights).sum(axis=(0, 2)), 1, rtol=1e-9)
    # Where the best goal changes on the way, the slopes on both sides differ.
    smooth = np.abs(there + back - 2 * value) < 1e-8
    np.testing.assert_allclose((there - back)[smooth] / (2 * change), (weights * way).sum((0, 2))[smooth], atol=1e-4)


def test_one_member_votes_with_its_plain_logits() -> None:
    victim = planted_victim()
    logits = np.arange(9, dtype=np.float32).reshape(3, 1, 3) ** 2
    margins = voters_of(victim, "low-b").margins(logits)
    assert margins[0, 0].tolist() == [9 - 25, 16 - 25, 25 - 16]
    victim.close()


def test_an_average_is_one_voter() -> None:
    victim = alike(Vote(rule="average"))
    assert voters_of(victim).margins(np.zeros((3, 5, 3), np.float32)).shape == (1, 5, 3)
    victim.close()


def test_a_member_that_does_not_exist_is_answered_with_those_that_do(victim: Victim) -> None:
    with pytest.raises(InvalidValue, match=r"^member: expected w2a4-a or w2a4-b or fp32, got 'magic'$"):
        voters_of(victim, "magic")
