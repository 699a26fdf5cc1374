"""JSON to dataclasses."""

from dataclasses import dataclass
from typing import Any

import pytest
from empir_client import UnexpectedAnswer
from empir_client.reading import read


@dataclass(frozen=True)
class Inner:
    share: float
    name: str | None = None


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    more: tuple[Inner, ...]
    votes: dict[str, int]
    sure: bool | None


GOOD: dict[str, Any] = {"count": 1, "inner": {"share": 1}, "more": [], "votes": {"7": 3}, "sure": None}


def test_known_keys_are_read_and_others_left_alone() -> None:
    document = {**GOOD, "more": [{"share": 0.5, "name": "a", "new": 1}], "new": {}}
    assert read(Outer, document) == Outer(1, Inner(1.0), (Inner(0.5, "a"),), {"7": 3}, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"count": 1.5}, "answer.count: expected int, got float"),
        ({"count": True}, "answer.count: expected int, got bool"),
        ({"count": None}, "answer.count: expected int, got NoneType"),
        ({"inner": {}}, "answer.inner.share: expected in EMPIR Serve's answer, it is not there"),
        ({"more": [{"share": 1}, {"share": "1"}]}, "answer.more[1].share: expected float, got str"),
        ({"more": {}}, "answer.more: expected list, got dict"),
        ({"votes": {"7": "3"}}, "answer.votes.7: expected int, got str"),
        ({"sure": 0}, "answer.sure: expected bool, got int"),
    ],
    ids=str,
)
def test_what_is_not_as_it_should_be_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        read(Outer, {**GOOD, **change})
    assert str(caught.value) == says
