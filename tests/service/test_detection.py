"""`suspicious` as the service answers and counts it."""

from typing import Any

import pytest

from runtime.manifest import Detection
from service.catalog import Catalog, Served
from tests.live import Live, Start
from tests.toy_catalog import DOT, NO, YES, full, low, toy_catalog
from tests.toys import ToyMember


def detecting(*members: ToyMember) -> Catalog:
    """A catalog of the bundle `toy` with a threshold between members that agree and members that do not."""
    served = toy_catalog(*members).get("toy")
    names = tuple(member.name for member in members)
    detection = Detection(score="jensen_shannon", threshold=0.2, members=names)
    return Catalog(
        [Served(served.manifest.model_copy(update={"detection": detection}), served.folder, served.ensemble)], "toy"
    )


def counted(server: Live) -> float:
    return float(server.metric("empir_suspicious_total", bundle="toy"))


def asked(server: Live, **query: str) -> Any:
    """What is answered to the picture, and how many suspicious ones have been counted."""
    return server.predict(DOT, **query).json()["suspicious"], counted(server)


def test_members_that_differ_are_suspicious_and_counted(start: Start) -> None:
    server = start(detecting(low(YES), low(YES, "b"), full(NO)), audit_rate=0)
    assert counted(server) == 0
    assert asked(server) == (True, 1)
    assert asked(server, mode="quorum") == (None, 1)  # the full-precision member was not asked
    assert asked(server) == (True, 2)


def test_members_that_agree_are_not(start: Start) -> None:
    assert asked(start(detecting(low(YES), low(YES, "b"), full(YES)))) == (False, 0)


def test_a_quorum_that_asks_everybody_can_tell(start: Start) -> None:
    assert asked(start(detecting(low(YES), low(NO, "b"), full(YES))), mode="quorum") == (True, 1)


def test_nobody_can_tell_without_the_vote_of_a_member(start: Start) -> None:
    assert asked(start(detecting(low(YES), low(YES, "b", failure="error"), full(YES)))) == (None, 0)


@pytest.mark.parametrize("mode", ["full", "quorum"])
def test_a_bundle_without_a_threshold_has_null(start: Start, mode: str) -> None:
    assert asked(start(toy_catalog(low(YES), low(NO, "b"), full(NO))), mode=mode) == (None, 0)


def test_without_a_verdict_nothing_is_counted(start: Start) -> None:
    server = start(detecting(low(YES), low(NO, "b"), full(NO, failure="error")))
    assert server.predict(DOT).status_code == 503
    assert counted(server) == 0
