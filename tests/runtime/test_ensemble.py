"""What an ensemble says: `full` and `quorum` against the rules of design.md in plain Python."""

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.bundle import load_bundle
from runtime.ensemble import Concurrency, Ensemble
from runtime.errors import InvalidValue
from runtime.manifest import Vote
from runtime.member import Reason
from runtime.prediction import Mode, Prediction
from runtime.vote import NO_VOTE
from tests.toy_bundle import ToyBundle
from tests.toys import FP32, W2A4, ToyMember, numbered

MODES: tuple[Mode, ...] = ("full", "quorum")


@dataclass
class World:
    """What every member would answer to every image, if it was asked."""

    low: list[bool]
    """[M]: whether a member is a low-precision one."""
    tie_breaker: int
    logits: NDArray[np.float32]
    """[M, N, K]"""
    nonfinite: NDArray[np.bool_]
    """[M, N]: rows in which a member returns a number that is not finite."""
    failures: list[Reason | None]
    """[M]: why a member returns nothing at all."""
    temperatures: list[float]
    concurrency: Concurrency

    @property
    def images(self) -> range:
        return range(self.logits.shape[1])

    def outcome(self, member: int, image: int) -> tuple[str, int]:
        """Status and vote of a member that is asked."""
        if (failure := self.failures[member]) is not None:
            return failure, NO_VOTE
        if self.nonfinite[member, image]:
            return "nonfinite", NO_VOTE
        row = self.logits[member, image].tolist()
        return "ok", row.index(max(row))

    def asked(self, image: int, mode: Mode) -> list[int]:
        """Who is asked: in a quorum the low-precision members, the others only where these have no majority."""
        everyone = range(len(self.low))
        first = [m for m in everyone if self.low[m]]
        decided = mode == "quorum" and self.majority(image, first) != NO_VOTE
        return first if decided else list(everyone)

    def majority(self, image: int, members: list[int]) -> int:
        votes = [self.outcome(m, image)[1] for m in members]
        return next((v for v in votes if v != NO_VOTE and 2 * votes.count(v) > len(self.low)), NO_VOTE)

    def verdict(self, image: int) -> int:
        leader = self.majority(image, list(range(len(self.low))))
        return self.outcome(self.tie_breaker, image)[1] if leader == NO_VOTE else leader

    def prob(self, member: int, image: int, label: int) -> float:
        weights = [math.exp(z / self.temperatures[member]) for z in self.logits[member, image].tolist()]
        return weights[label] / sum(weights)

    def members(self) -> list[ToyMember]:
        logits = self.logits.copy()
        logits[self.nonfinite, -1] = np.nan
        return [
            ToyMember(f"m{m}", W2A4 if low else FP32, logits[m], self.failures[m], self.temperatures[m])
            for m, low in enumerate(self.low)
        ]

    def predict(self, mode: Mode) -> tuple[Prediction, list[ToyMember]]:
        members = self.members()
        vote = Vote(rule="majority", tie_breaker=members[self.tie_breaker].name)
        ensemble = Ensemble(members, vote, self.logits.shape[2], concurrency=self.concurrency)
        prediction = ensemble.predict(numbered(len(self.images)), mode)
        ensemble.close()
        return prediction, members


SIZES = [(2, 1), (3, 1), (3, 2), (4, 1)] * 5 + [(n, m) for n in range(5) for m in range(4) if n + m > 0]
"""Low-precision and full-precision members: any few, and often so many that the first alone may decide."""


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Hypothesis draws who there is, a generator what they say: evenly, so that members agree, disagree and fail."""
    n_low, n_full = draw(st.sampled_from(SIZES))
    low = draw(st.permutations([True] * n_low + [False] * n_full))
    members, images, classes = len(low), draw(st.integers(1, 5)), draw(st.integers(2, 4))
    tie_breaker, concurrency = draw(st.integers(0, members - 1)), draw(st.sampled_from(get_args(Concurrency)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = generator.integers(-3, 4, (members, images, classes)).astype(np.float32)
    logits[generator.random((members, images)) < 0.7, 0] += 5
    # On threads only time makes a member late: see test_concurrency.py.
    reasons: list[Reason] = ["error", "deadline" if concurrency == "requests" else "error"]
    return World(
        low=low,
        tie_breaker=tie_breaker,
        logits=logits,
        nonfinite=generator.random((members, images)) < 0.1,
        failures=[reasons[generator.integers(2)] if generator.random() < 0.1 else None for _ in low],
        temperatures=generator.choice([0.5, 1.0, 4.0], members).tolist(),
        concurrency=concurrency,
    )


@given(worlds())
def test_quorum_and_full_give_the_same_verdict(world: World) -> None:
    verdicts = [world.predict(mode)[0].verdict.tolist() for mode in MODES]
    assert verdicts[0] == verdicts[1] == [world.verdict(image) for image in world.images]


@pytest.mark.parametrize("mode", MODES)
@given(world=worlds())
def test_every_member_is_asked_only_where_its_vote_can_matter(mode: Mode, world: World) -> None:
    _, members = world.predict(mode)
    for index, member in enumerate(members):
        wanted = [image for image in world.images if index in world.asked(image, mode)]
        assert member.asked == ([wanted] if wanted else [])


@pytest.mark.parametrize("mode", MODES)
@given(world=worlds())
def test_status_and_votes_stay_with_their_images(mode: Mode, world: World) -> None:
    prediction, _ = world.predict(mode)
    for image in world.images:
        asked = world.asked(image, mode)
        for member in range(len(world.low)):
            status, vote = world.outcome(member, image) if member in asked else ("skipped", NO_VOTE)
            assert (prediction.status[member][image], prediction.votes[member, image]) == (status, vote)
            if status == "ok":
                np.testing.assert_array_equal(prediction.logits[member, image], world.logits[member, image])
            else:
                assert not prediction.probs[member, image].any() and not prediction.logits[member, image].any()


@pytest.mark.parametrize("mode", MODES)
@given(world=worlds())
def test_confidence_agreement_and_degraded_count_the_members_consulted(mode: Mode, world: World) -> None:
    prediction, _ = world.predict(mode)
    for image in world.images:
        asked = world.asked(image, mode)
        live = [m for m in asked if world.outcome(m, image)[0] == "ok"]
        assert prediction.degraded(image) == (len(live) < len(asked))
        verdict = world.verdict(image)
        if verdict == NO_VOTE:
            continue
        confidence = sum(world.prob(m, image, verdict) for m in live) / len(live)
        assert prediction.confidence(image) == pytest.approx(confidence, rel=1e-5)
        agreement = sum(world.outcome(m, image)[1] == verdict for m in live) / len(live)
        assert prediction.agreement(image) == pytest.approx(agreement)


@given(worlds())
def test_an_audit_asks_the_skipped_and_reports_whether_one_dissents(world: World) -> None:
    quorum, members = world.predict("quorum")
    ensemble = Ensemble(members, Vote(rule="majority", tie_breaker="m0"), world.logits.shape[2])
    expected = []
    for image in world.images:
        skipped = [m for m in range(len(world.low)) if m not in world.asked(image, "quorum")]
        votes = [world.outcome(m, image)[1] for m in skipped]
        dissents = any(vote not in (NO_VOTE, world.verdict(image)) for vote in votes)
        expected.append(True if dissents else None if NO_VOTE in votes else False)
    assert ensemble.dissent(numbered(len(world.images)), quorum) == expected
    ensemble.close()


def test_no_verdict_without_majority_and_tie_breaker() -> None:
    logits = np.eye(3, dtype=np.float32)[:, None, :]
    members = [ToyMember("a", W2A4, logits[0]), ToyMember("b", W2A4, logits[1]), ToyMember("c", FP32, logits[2])]
    ensemble = Ensemble(members, Vote(rule="majority", tie_breaker="c"), 3)
    assert ensemble.predict(numbered(1)).verdict.tolist() == [2]
    members[2].failure = "error"
    prediction = ensemble.predict(numbered(1))
    assert prediction.verdict.tolist() == [NO_VOTE]
    assert prediction.details == {"c": "told to fail"}
    ensemble.close()


def test_a_failed_member_still_counts_among_all() -> None:
    """Two of five agree, two failed: not a majority of all five, so the tie-breaker decides."""
    classes = np.eye(3, dtype=np.float32)
    votes = [0, 0, 1, 1, 1]
    members = [ToyMember(f"m{i}", W2A4 if i < 4 else FP32, classes[[v]]) for i, v in enumerate(votes)]
    members[2].failure = members[3].failure = "deadline"
    ensemble = Ensemble(members, Vote(rule="majority", tie_breaker="m4"), 3, concurrency="requests")
    assert [ensemble.predict(numbered(1), mode).verdict.tolist() for mode in MODES] == [[1], [1]]
    ensemble.close()


def test_average_is_the_mean_over_live_members_and_refuses_quorum() -> None:
    logits = np.log(np.array([[[0.6, 0.4]], [[0.1, 0.9]], [[0.7, 0.3]]], dtype=np.float32))
    members = [ToyMember(name, W2A4, row) for name, row in zip("abc", logits, strict=True)]
    ensemble = Ensemble(members, Vote(rule="average", tie_breaker="a"), 2)
    assert ensemble.predict(numbered(1)).verdict.tolist() == [1]
    members[1].failure = "error"
    assert ensemble.predict(numbered(1)).verdict.tolist() == [0]
    members[0].failure = members[2].failure = "error"
    assert ensemble.predict(numbered(1)).verdict.tolist() == [NO_VOTE]
    with pytest.raises(InvalidValue, match=r"^mode: expected full, got quorum"):
        ensemble.predict(numbered(1), "quorum")
    ensemble.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_bundle_at_work(toy: ToyBundle, mode: Mode) -> None:
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    ensemble.warm_up(toy.images[:1])
    prediction = ensemble.predict(toy.images, mode)
    assert prediction.verdict.tolist() == toy.classes.tolist()
    assert not any(prediction.degraded(image) for image in range(len(toy.images)))
    if mode == "quorum":
        assert prediction.status[2].count("skipped") > len(toy.images) / 2 and prediction.seconds[2] == 0
    ensemble.close()
