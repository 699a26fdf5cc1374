"""In-process limits, and what share of them reaches a client, on toy members and a toy server."""

from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks.batches import batches, rate, ways
from benchmarks.reach import reach, read_target
from runtime.ensemble import Ensemble
from runtime.manifest import Vote
from tests.loadtest.toy_server import answer, toy
from tests.toys import FP32, W2A4, Array, ToyMember, numbered


def ensemble(images: int) -> tuple[Ensemble, list[ToyMember]]:
    """Two low-precision members that agree on even images only, and a full-precision one."""
    first = np.eye(2, dtype=np.float32)[np.zeros(images, int)]
    second = np.eye(2, dtype=np.float32)[np.arange(images) % 2]
    members = [ToyMember("fp32", FP32, first), ToyMember("low-a", W2A4, first), ToyMember("low-b", W2A4, second)]
    return Ensemble(members, Vote(rule="majority", tie_breaker="fp32"), 2, cores=1), members


def test_every_way_runs_on_batches_of_every_size() -> None:
    made, members = ensemble(10)
    found = batches(made, numbered(10), rounds=2, seconds=0.0, sizes=(1, 4))
    names = ["full", "quorum", "low-precision members", "fp32", "low-a", "low-b"]
    assert [(row.what, row.batch) for row in found] == [(name, size) for name in names for size in (1, 4)]
    assert all(0 < row.slowest <= row.images_per_second <= row.fastest for row in found)
    assert {len(asked) for asked in members[1].asked} == {1, 4}
    assert {number for asked in members[1].asked for number in asked} == set(range(10))


def test_a_quorum_asks_the_full_precision_member_about_the_undecided_only() -> None:
    made, members = ensemble(10)
    run = dict(ways(made))
    run["quorum"](numbered(10))
    assert members[0].asked == [[1, 3, 5, 7, 9]]
    members[0].asked.clear()
    run["low-precision members"](numbered(10))
    assert members[0].asked == []


def test_the_rate_counts_images_not_batches() -> None:
    seen: list[int] = []

    def run(images: Array) -> None:
        seen.append(len(images))

    assert rate(run, [numbered(4)] * 3, 4, 0.0) > 0
    assert seen == [4, 4, 4]


def test_a_batch_larger_than_the_images_takes_them_again() -> None:
    made, members = ensemble(3)
    batches(made, numbered(3), rounds=1, seconds=0.0, sizes=(7,))
    assert members[1].asked[0] == [0, 1, 2, 0, 1, 2, 0]


def test_the_share_is_what_was_served_over_the_limit() -> None:
    made, _ = ensemble(10)
    with toy(lambda *_: answer()) as server:
        target = read_target(f"{server.url}#png")
        (found,) = reach(made, numbered(10), target, "b", modes=("full",), connections=2, rounds=2, seconds=0.4)
        assert {urlsplit(each.path).query for each in server.seen} == {"mode=full&bundle=b"}
    assert found.mode == "full" and found.limit > 0 and found.served > 0 and found.p50_ms is not None
    assert found.share is not None and 0 < found.share.low <= found.share.value <= found.share.high
    assert found.share.value == pytest.approx(found.served / found.limit, rel=0.9)


def test_a_server_is_asked_in_the_protocols_binary_form_unless_told() -> None:
    assert read_target("http://127.0.0.1:8000").body == "oip-binary"
    with pytest.raises(ValueError, match="URL: expected"):
        read_target("127.0.0.1:8000")
