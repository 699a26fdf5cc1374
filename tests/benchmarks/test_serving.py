"""The table of what is served: toy servers of which every row is known, and the whole of it with a toy bundle."""

import os
from dataclasses import replace
from urllib.parse import urlsplit

import psutil
import pytest

from benchmarks.batching import gain
from benchmarks.context import Context
from benchmarks.cores import pinned, two_sides
from benchmarks.figure import Figure, believed
from benchmarks.serving.lasting import memory
from benchmarks.serving.latencies import added, queueing, refusals
from benchmarks.serving.load import Effort, Side, in_turn
from benchmarks.serving.rates import over_baseline, two_workers
from benchmarks.serving.table import serving
from loadtest.client import Plan, drive
from loadtest.connection import Address
from loadtest.latency import Latency
from loadtest.pressure import Pressure
from loadtest.recording import Recording
from loadtest.report import Report
from loadtest.target import Target
from loadtest.workload import Workload
from tests.loadtest.toy_server import Reply, Seen, answer, toy
from tests.toy_bundle import ToyBundle

QUIET, BUSY = Pressure(0.1, 0.0, 0.0, 0.0), Pressure(0.99, 0.0, 0.0, 0.0)
LATE = Pressure(0.1, 1.0, 5.0, 9.0)
SHORT = Effort(rounds=2, seconds=0.1, warmup=0.01, calls=4, lasting=30)
NONE = Latency(0, None, None, None, None, None)


def generator_is(pressure: Pressure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that runs the tests does meanwhile."""

    def driven(address: Address, plan: Plan) -> tuple[Recording, Pressure]:
        return drive(address, plan)[0], pressure

    for module in ("benchmarks.serving.load", "benchmarks.reach"):
        monkeypatch.setattr(f"{module}.drive", driven)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    generator_is(QUIET, monkeypatch)


def ordinary(*_: object) -> Reply:
    return answer()


def report(rate: float, pressure: Pressure = QUIET) -> Report:
    return Report(1.0, int(rate), None, rate, {"200": int(rate)}, NONE, None, NONE, 0, 0.0, pressure)


def test_batching_gains_what_the_rounds_say() -> None:
    found = gain([report(10), report(20), report(10)], [report(12), report(26), report(13)])
    assert found.good and found.measured == "1.30 (1.20 to 1.30, n = 3); 26.0 images/s at best"
    assert not gain([report(10)] * 3, [report(11)] * 3).good


@pytest.mark.parametrize("at", [0, 1])
def test_no_gain_is_told_that_the_load_generator_has_limited(at: int) -> None:
    sides = [[report(10)] * 3, [report(20)] * 3]
    sides[at][1] = report(20, BUSY)
    found = gain(*sides)
    assert not found.good and found.measured.startswith("no report: the load generator used 99% of its core")


def test_a_figure_is_believed_where_no_run_was_limited() -> None:
    figure = Figure("a", "b", "c", True)
    assert believed(figure, [QUIET, QUIET]) == figure
    assert believed(figure, [QUIET, LATE]).good is False


def test_rounds_alternate_between_the_sides() -> None:
    with toy(ordinary) as one, toy(ordinary) as two:
        found = in_turn([Side.of(f"{one.url}#png"), Side.of(f"{two.url}#png", "quorum")], SHORT)
        assert {each.path for each in one.seen} == {"/predict"}
        assert {each.path for each in two.seen} == {"/predict?mode=quorum"}
        assert min(one.connections, two.connections) >= 2 * 16
    assert [len(reports) for reports in found] == [2, 2] and all(
        each.outcomes["200"] for reports in found for each in reports
    )


def test_the_handler_is_sent_the_same_pictures_without_a_mode() -> None:
    with toy(ordinary) as server, toy(ordinary) as baseline:
        over_baseline(server.url, baseline.url, SHORT)
        assert {urlsplit(each.path).query for each in server.seen} == {"mode=full", "mode=quorum"}
        assert {each.path for each in baseline.seen} == {"/predict"}
        assert len({each.body for each in (*server.seen, *baseline.seen)}) <= 10


def test_each_mode_has_a_promise_of_its_own_over_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"http://h#png": 100, "http://e#png?full": 200, "http://e#png?quorum": 290}

    def of(url: str, mode: str = "") -> Side:
        return Side(Target(f"{url}?{mode}".rstrip("?"), urlsplit(url), "png"), Workload(()))

    monkeypatch.setattr(Side, "of", of)
    monkeypatch.setattr(Side, "closed", lambda side, *_: report(rates[side.target.name]))
    full, quorum = over_baseline("http://e", "http://h", SHORT)
    assert (full.promised, full.good, full.measured) == (
        "at least 2",
        True,
        "2.00 (2.00 to 2.00); 200 and 100/s, 2 rounds",
    )
    assert (quorum.promised, quorum.good) == ("at least 3", False) and quorum.measured.startswith("2.90 (")


def test_who_shares_a_core_with_workers_may_be_late_but_not_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy(lambda _, request: model(request)) as server:
        for pressure, told in ((LATE, True), (BUSY, False)):
            generator_is(pressure, monkeypatch)
            assert two_workers(server.url, server.url, SHORT).measured.startswith("no report") is not told


def model(request: Seen) -> Reply:
    """What a client of the protocol asks before its first image."""
    bodies = {
        "/bundles": b'{"default": "toy"}',
        "/v2/models/toy": b'{"inputs": [{"name": "image", "shape": [-1, 1, 8, 8]}]}',
    }
    return answer(body=bodies.get(request.path, b"{}"))


def test_what_is_added_is_asked_one_request_after_the_other() -> None:
    calls: list[int] = []
    with toy(ordinary) as server:
        side = Side.of(f"{server.url}#png")
        found = added("toy", [lambda: calls.append(0), lambda: calls.append(1)], side, SHORT)
        assert len(server.seen) == 2 * (1 + 4) and server.connections == 2
    assert calls == [0, 1, 0, 1] * 2
    assert [each.what[-3:] for each in found] == ["p50", "p99"] and all(float(each.measured[:4]) >= 0 for each in found)


def test_an_answer_that_is_none_is_no_latency() -> None:
    with toy(lambda *_: answer(503, b"no quorum")) as server, pytest.raises(ValueError, match="503: no quorum"):
        added("toy", [lambda: None], Side.of(f"{server.url}#png"), SHORT)


def test_a_server_that_refuses_does_not_queue_well() -> None:
    with toy(lambda index, _: answer(429) if index % 5 == 1 else answer()) as server:
        found = queueing(Side.of(f"{server.url}#png"), SHORT)
    assert found.measured.startswith("inf") and not found.good


def test_refusals_are_timed_apart_from_answers() -> None:
    with toy(lambda index, _: answer(429) if index % 2 else answer()) as server:
        side = Side.of(f"{server.url}#png")
        some = refusals(side, SHORT)
    with toy(ordinary) as server:
        none = refusals(Side.of(f"{server.url}#png"), SHORT)
    assert "(n = 0)" not in some.measured and "answered: p99" in some.measured
    assert none.measured == "nothing was refused" and not none.good


def test_memory_is_read_after_so_many_answers_of_all_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy(ordinary) as server:
        sides = [Side.of(f"{server.url}#png", mode) for mode in ("full", "quorum", None)]
    asked: list[Side] = []

    def closed(side: Side, _: Effort) -> Report:
        asked.append(side)
        return report(7)

    monkeypatch.setattr(Side, "closed", closed)
    found = memory(psutil.Process(), sides, replace(SHORT, lasting=28))
    assert asked == [*sides, sides[0]] and found.what == "memory of a worker after 28 answers"
    megabytes = psutil.Process().memory_info().rss / 1e6
    assert float(found.measured.split()[0]) == pytest.approx(megabytes, rel=0.2)
    assert found.good is (megabytes <= 160)


def test_cores_are_given_back() -> None:
    before = os.sched_getaffinity(0)
    servers, here = two_sides()

    def fail_there() -> None:
        with pinned(servers):
            assert os.sched_getaffinity(0) == set(servers)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_there()
    assert os.sched_getaffinity(0) == before
    assert len(servers) == len(here) == 1 and {*servers, *here} <= before


def test_the_whole_table_is_of_the_bundle_that_is_asked_for(toy: ToyBundle) -> None:
    before = os.sched_getaffinity(0)
    found = serving(Context(None, toy.folder), replace(SHORT, seconds=0.2))
    assert len({each.what for each in found}) == len(found) == 12 and os.sched_getaffinity(0) == before
    assert not [each for each in found if each.measured.startswith("no report")]
