"""Detection scores against plain Python, and when an image is suspicious, is not, or nobody can tell."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.detection import SCORES, Scorer, suspicious
from runtime.ensemble import Ensemble
from runtime.manifest import Detection, Manifest, ScoreName
from runtime.member import Reason
from runtime.prediction import Mode, Prediction
from tests.toys import FP32, W2A4, Array, ToyMember, numbered, toy_entry, toy_manifest

LABELS = ("cat", "dog", "eel")
NAMES = ("a", "b", "c")
MANIFEST = toy_manifest(
    [
        toy_entry("a", W2A4, temperature=0.5),
        toy_entry("b", W2A4, temperature=2.0),
        toy_entry("c", FP32, temperature=3.0),
    ],
    "c",
    (1, 1, 1),
    LABELS,
)

Probs = list[list[float]]


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp((each - max(logits)) / temperature) for each in logits]
    return [power / sum(powers) for power in powers]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def mean_of(rows: Probs) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def jensen_shannon(probs: Probs) -> float:
    return sum(divergence(p, mean_of(probs)) for p in probs) / len(probs) / math.log(len(probs))


def disagreement(probs: Probs) -> float:
    votes = [p.index(max(p)) for p in probs]
    return 1 - max(votes.count(vote) for vote in votes) / len(votes)


def surety(row: list[float], chosen: int) -> float:
    return row[chosen] - max(value for k, value in enumerate(row) if k != chosen)


def gap(probs: Probs, of: Callable[[float], float]) -> float:
    """Of members a and b, which are of low precision, and c, which is not."""
    mean = mean_of(probs)
    a, b, c = (surety([of(p) for p in row], mean.index(max(mean))) for row in probs)
    return abs(c - (a + b) / 2)


ORACLES: dict[ScoreName, Callable[[Probs], float]] = {
    "jensen_shannon": jensen_shannon,
    "kullback_leibler": lambda probs: (divergence(probs[0], probs[2]) + divergence(probs[1], probs[2])) / 2,
    "disagreement": disagreement,
    "confidence_gap": lambda probs: gap(probs, lambda p: p) / 2,
    "margin_gap": lambda probs: gap(probs, math.log),
}

LOGITS = hnp.arrays(np.float32, (3, 4, 3), elements=st.floats(-8, 8, width=16), unique=True)
"""Of 3 members for 4 images in 3 classes; without ties, for which plain Python may decide otherwise."""


@pytest.mark.parametrize("name", SCORES)
@given(logits=LOGITS)
def test_a_score_is_that_of_plain_python(name: ScoreName, logits: Array) -> None:
    found = Scorer.of(MANIFEST, name, NAMES).of_logits(logits)
    for image in range(4):
        rows = zip(logits[:, image].tolist(), MANIFEST.members, strict=True)
        probs = [softmax(row, member.temperature) for row, member in rows]
        ordered = sorted(mean_of(probs))
        if "gap" in name and ordered[-1] - ordered[-2] < 1e-9:
            continue  # two favourites
        assert found[image] == pytest.approx(ORACLES[name](probs), rel=1e-9, abs=1e-9)


def test_every_score_has_an_oracle() -> None:
    assert ORACLES.keys() == SCORES.keys()


@pytest.mark.parametrize("name", SCORES)
def test_members_that_say_the_same_score_0(name: ScoreName) -> None:
    logits = np.array([[3, 0, -1]], np.float32) * np.array([0.5, 2, 3], np.float32)[:, None, None]
    assert Scorer.of(MANIFEST, name, NAMES).of_logits(logits)[0] == pytest.approx(0, abs=1e-7)


def test_sure_members_that_differ_score_highest_and_finite() -> None:
    logits = (np.eye(3, dtype=np.float32) * 3e4)[:, None]
    found = {name: float(Scorer.of(MANIFEST, name, NAMES).of_logits(logits)[0]) for name in SCORES}
    assert found["jensen_shannon"] == pytest.approx(1)
    assert found["disagreement"] == pytest.approx(2 / 3)
    assert all(math.isfinite(value) for value in found.values())


def test_what_the_probabilities_round_away_still_orders_images() -> None:
    """Over their temperatures the logits are 18 and 30, 30, 30: all of the first class, in float32 with certainty."""
    logits = np.array([[[9, 0, 0], [15, 0, 0]], [[60, 0, 0]] * 2, [[90, 0, 0]] * 2], np.float32)
    near, nearer = Scorer.of(MANIFEST, "jensen_shannon", NAMES).of_logits(logits)
    assert near > 1e-9 and 0 <= nearer < 1e-12


def test_only_the_members_of_the_score_count_each_with_its_temperature() -> None:
    logits = np.array([[[1, 0, 0]], [[4, 0, 0]], [[0, 9, 0]]], np.float32)  # a and b: the same over temperature
    assert Scorer.of(MANIFEST, "jensen_shannon", ("a", "b")).of_logits(logits)[0] == pytest.approx(0, abs=1e-9)
    assert Scorer.of(MANIFEST, "jensen_shannon", ("a", "c")).of_logits(logits)[0] > 0.1


def said(votes: str, mode: Mode = "full", failures: dict[str, Reason] | None = None) -> Prediction:
    """Of one image: members a, b and c vote for the labels with these initials, with probability 0.8."""
    rows = {label[0]: np.log(np.where(np.eye(3)[k], 0.8, 0.1))[None] for k, label in enumerate(LABELS)}
    members = [
        ToyMember(
            entry.name,
            entry.precision,
            (rows[vote] * entry.temperature).astype(np.float32),
            (failures or {}).get(entry.name),
            entry.temperature,
        )
        for entry, vote in zip(MANIFEST.members, votes, strict=True)
    ]
    return Ensemble(members, MANIFEST.vote, 3, concurrency="requests").predict(numbered(1), mode)


def detecting(threshold: float, members: tuple[str, ...] = NAMES) -> Manifest:
    detection = Detection(score="jensen_shannon", threshold=threshold, members=members)
    return MANIFEST.model_copy(update={"detection": detection})


def test_an_image_is_suspicious_above_the_threshold_and_not_on_it() -> None:
    prediction = said("dde")
    (score,) = Scorer.of(MANIFEST, "jensen_shannon", NAMES)(prediction).tolist()
    assert 0 < score < 1
    assert suspicious(detecting(np.nextafter(score, 0)), prediction) is True
    assert suspicious(detecting(score), prediction) is False


def test_nobody_can_tell_without_a_threshold() -> None:
    assert suspicious(MANIFEST, said("dde")) is None


@pytest.mark.parametrize("failure", ["error", "deadline"])
def test_nobody_can_tell_without_a_member_that_the_score_needs(failure: Reason) -> None:
    prediction = said("dde", failures={"a": failure})
    assert suspicious(detecting(0), prediction) is None
    assert np.isnan(Scorer.of(MANIFEST, "jensen_shannon", NAMES)(prediction)).all()
    assert suspicious(detecting(0, ("b", "c")), prediction) is True


def test_a_quorum_that_skips_a_member_leaves_it_open_unless_the_score_does_without() -> None:
    agreed, divided = said("dde", "quorum"), said("dee", "quorum")
    assert (agreed.status[2], divided.status[2]) == (["skipped"], ["ok"])
    assert suspicious(detecting(0), agreed) is None
    assert suspicious(detecting(0), divided) is True
    assert suspicious(detecting(0.1, ("a", "b")), agreed) is False
    assert suspicious(detecting(0.1, ("a", "b")), divided) is True


def test_each_image_of_a_batch_has_its_own_score() -> None:
    logits = np.zeros((3, 2, 3), np.float32)
    logits[:, :, 0] = 5
    logits[2, 1] = (0, 0, 9)
    votes = np.array([[0, 0], [0, 0], [0, 2]])
    prediction = Prediction(np.array([0, 0]), votes, np.zeros_like(logits), logits, [["ok"] * 2] * 3, [0.0] * 3)
    assert [suspicious(detecting(0.2), prediction, image) for image in (0, 1)] == [False, True]
    prediction.votes[1, 0] = -1
    assert [suspicious(detecting(0.2), prediction, image) for image in (0, 1)] == [None, True]
    assert np.isnan(Scorer.of(MANIFEST, "jensen_shannon", NAMES)(prediction)).tolist() == [True, False]
