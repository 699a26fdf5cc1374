"""The document that one image's prediction becomes."""

import json

import numpy as np
import pytest

from runtime.answer import answer
from runtime.ensemble import Ensemble
from runtime.errors import NoQuorum
from runtime.manifest import Vote
from runtime.member import Reason
from tests.toys import FP32, W2A4, ToyMember, numbered, toy_entry, toy_manifest

LABELS = ("cat", "dog", "eel")
MANIFEST = toy_manifest(
    [toy_entry("a", W2A4), toy_entry("b", W2A4), toy_entry("c", FP32)], "c", (1, 8, 8), labels=LABELS
)
VOTE = Vote(rule="majority", tie_breaker="c")


def ensemble_that_votes(votes: str, failures: dict[str, Reason] | None = None) -> Ensemble:
    """Members a, b and c vote for the labels with these initials; their probability of it is 0.8."""
    rows = {label[0]: np.log(np.where(np.eye(3)[k], 0.8, 0.1))[None] for k, label in enumerate(LABELS)}
    members = [
        ToyMember(entry.name, entry.precision, rows[vote].astype(np.float32), (failures or {}).get(entry.name))
        for entry, vote in zip(MANIFEST.members, votes, strict=True)
    ]
    return Ensemble(members, VOTE, 3, concurrency="requests")


def test_full() -> None:
    document = answer(MANIFEST, ensemble_that_votes("dde").predict(numbered(1)), "full")
    members = document.pop("members")
    assert document == {
        "label": "dog",
        "class_index": 1,
        "confidence": pytest.approx((0.8 + 0.8 + 0.1) / 3),
        "agreement": pytest.approx(2 / 3, abs=1e-6),
        "suspicious": None,
        "degraded": False,
        "mode": "full",
        "votes": {"dog": 2, "eel": 1},
    }
    assert members[2] == {
        "name": "c",
        "precision": {"weights": 32, "activations": 32},
        "status": "ok",
        "label": "eel",
        "class_index": 2,
        "confidence": pytest.approx(0.8),
        "latency_ms": 0,
    }


def test_a_member_without_a_vote_has_nulls() -> None:
    prediction = ensemble_that_votes("dde", {"b": "deadline"}).predict(numbered(1))
    document = json.loads(json.dumps(answer(MANIFEST, prediction, "full")))
    assert (document["label"], document["degraded"], document["votes"]) == ("eel", True, {"dog": 1, "eel": 1})
    late = document["members"][1]
    assert (late["status"], late["label"], late["class_index"], late["confidence"]) == ("deadline", None, None, None)


def test_a_skipped_member_has_nulls_and_nothing_is_degraded() -> None:
    document = answer(MANIFEST, ensemble_that_votes("dde").predict(numbered(1), "quorum"), "quorum")
    assert (document["votes"], document["agreement"], document["degraded"]) == ({"dog": 2}, 1, False)
    assert (document["members"][2]["status"], document["members"][2]["label"]) == ("skipped", None)


def test_no_quorum_says_what_each_member_did() -> None:
    prediction = ensemble_that_votes("cde", {"c": "error"}).predict(numbered(1))
    with pytest.raises(NoQuorum, match=r"\(a: cat, b: dog, c: error\)$"):
        answer(MANIFEST, prediction, "full")
