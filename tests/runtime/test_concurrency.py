"""Members on threads of their own, and one after the other. Waits have a limit only so that a failure does not hang."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import onnxruntime as ort
import pytest

from runtime.ensemble import Concurrency, Ensemble
from runtime.manifest import Precision, Vote
from runtime.member import Answer, Images
from runtime.prediction import Mode
from tests.toys import FP32, W2A4, ToyMember, numbered

CLASS_0 = np.array([[1, 0]], dtype=np.float32)
HANG_S = 30.0
VOTE = Vote(rule="majority", tie_breaker="c")


class Meeting:
    """A Network that votes class 0 after it has called `inside`."""

    temperature = 1.0

    def __init__(self, name: str, precision: Precision, inside: Callable[[], object]) -> None:
        self.name, self.precision, self.inside = name, precision, inside

    def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
        self.inside()
        return Answer(np.tile(CLASS_0, (len(images), 1)), 0.0)


def ensemble_of(
    *inside: Callable[[], object],
    concurrency: Concurrency = "members",
    cores: int | None = None,
    deadline_s: float = HANG_S,
) -> Ensemble:
    """Low-precision members a, b, ... and the full-precision one c, the last."""
    names = [*"ab"[: len(inside) - 1], "c"]
    members = [Meeting(n, FP32 if n == "c" else W2A4, call) for n, call in zip(names, inside, strict=True)]
    return Ensemble(members, VOTE, 2, member_deadline_ms=1000 * deadline_s, concurrency=concurrency, cores=cores)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += 1


def spans_of(concurrency: Concurrency, clock: Clock, inside: Callable[[], object]) -> list[tuple[float, float] | None]:
    """When each of three members ran, which call `inside` meanwhile, by this clock."""

    def timed(member: Meeting, images: Images, options: ort.RunOptions | None = None) -> Answer:
        start = clock.perf_counter()
        member.inside()
        return Answer(np.tile(CLASS_0, (len(images), 1)), clock.perf_counter() - start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.ensemble.time", clock)
        patch.setattr(Meeting, "answer", timed)
        ensemble = ensemble_of(*[inside] * 3, concurrency=concurrency, cores=3)
        prediction = ensemble.predict(numbered(2))
        ensemble.close()
    assert prediction.status == [["ok", "ok"]] * 3
    return prediction.spans


def test_the_spans_of_members_overlap_in_time() -> None:
    clock = Clock()
    barrier = threading.Barrier(3, clock.tick)  # time passes once all of them are inside
    assert spans_of("members", clock, lambda: barrier.wait(HANG_S)) == [(0, 1)] * 3


def test_with_requests_they_follow_one_another() -> None:
    clock = Clock()
    assert spans_of("requests", clock, clock.tick) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("concurrency", ["members", "requests"])
def test_no_more_members_run_at_once_than_there_are_cores(concurrency: Concurrency) -> None:
    order: list[tuple[str, bool]] = []
    second = threading.Event()

    def inside(name: str) -> None:
        order.append((name, threading.current_thread() is threading.main_thread()))
        if name != "a":
            second.set()
        elif second.wait(0.1):
            order.append(("met", False))

    ensemble = ensemble_of(*[partial(inside, name) for name in "abc"], concurrency=concurrency, cores=1)
    assert ensemble.predict(numbered(1)).verdict.tolist() == [0]
    assert order == [(name, concurrency == "requests") for name in "abc"]
    ensemble.close()


def test_no_more_members_of_a_call_run_at_once_than_cores_are_idle() -> None:
    order: list[str] = []
    both, third = threading.Event(), threading.Event()

    def one_of_two(name: str) -> None:
        order.append(name)
        if len(order) == 2:
            both.set()
        assert both.wait(HANG_S)
        if third.wait(0.1):
            order.append("met")

    def last() -> None:
        third.set()
        order.append("c")

    ensemble = ensemble_of(partial(one_of_two, "a"), partial(one_of_two, "b"), last, cores=4)
    assert ensemble.predict(numbered(1), idle_cores=2).verdict.tolist() == [0]
    assert sorted(order[:2]) == ["a", "b"] and order.count("c") == 1
    assert order.count("met") <= 1  # the first of them to be done may be overtaken by the third, both may not
    ensemble.close()


@pytest.mark.parametrize(
    ("concurrency", "mode", "idle", "width"),
    [
        ("members", "full", 4, 3),
        ("members", "full", 2, 2),
        ("members", "quorum", 4, 2),
        ("members", "quorum", 1, 1),
        ("requests", "full", 4, 1),
        ("auto", "full", 4, 3),
        ("auto", "full", 1, 1),
        ("auto", "quorum", 3, 2),
    ],
)
def test_the_width_is_how_many_members_run_at_once(concurrency: Concurrency, mode: Mode, idle: int, width: int) -> None:
    members = [ToyMember(name, FP32 if name == "c" else W2A4, CLASS_0, "deadline") for name in "abc"]
    ensemble = Ensemble(members, VOTE, 2, concurrency=concurrency, cores=4)
    ensemble.warm_up(numbered(1), repeats=1)
    assert ensemble.width(mode, 1, idle) == width
    ensemble.close()


def test_a_member_that_raises_on_a_thread_raises_at_the_caller() -> None:
    def fault() -> None:
        raise ZeroDivisionError

    ensemble = ensemble_of(lambda: None, fault, lambda: None, cores=3)
    for _ in range(5):  # no thread is lost by it
        with pytest.raises(ZeroDivisionError):
            ensemble.predict(numbered(1))
    ensemble.close()


def test_a_late_member_has_no_vote_this_time() -> None:
    answered, done = threading.Event(), threading.Event()

    def late() -> None:
        answered.wait(HANG_S)
        done.set()

    ensemble = ensemble_of(lambda: None, late, lambda: None, cores=3, deadline_s=0.4)
    prediction = ensemble.predict(numbered(2))
    assert prediction.status == [["ok", "ok"], ["deadline", "deadline"], ["ok", "ok"]]
    assert prediction.verdict.tolist() == [0, 0] and prediction.degraded(0)
    assert prediction.details == {"b": "deadline"}
    answered.set()
    assert done.wait(HANG_S)
    assert ensemble.predict(numbered(1)).status == [["ok"]] * 3
    ensemble.close()


def test_in_turn_a_late_member_loses_its_vote_too() -> None:
    members = [ToyMember(name, W2A4, CLASS_0) for name in "abc"]
    members[0].failure = "deadline"
    ensemble = Ensemble(members, VOTE, 2, concurrency="requests")
    assert ensemble.predict(numbered(1)).status == [["deadline"], ["ok"], ["ok"]]
    ensemble.close()


def test_several_callers_get_their_own_answers() -> None:
    logits = np.eye(64, dtype=np.float32)
    members = [ToyMember(name, FP32 if name == "c" else W2A4, logits) for name in "abc"]
    ensemble = Ensemble(members, VOTE, 64, concurrency="members", cores=2)
    with ThreadPoolExecutor(8) as callers:
        batches = [numbered(64)[i : i + 3] for i in range(60)]
        verdicts = [p.verdict.tolist() for p in callers.map(ensemble.predict, batches)]
    assert verdicts == [[i, i + 1, i + 2] for i in range(60)]
    ensemble.close()


def test_auto_puts_members_on_threads_only_where_that_pays() -> None:
    members = [ToyMember(name, W2A4, np.zeros((1, 2), np.float32)) for name in "abc"]
    quick = Ensemble(members, VOTE, 2, cores=2)
    quick.warm_up(numbered(1), repeats=1)
    assert not quick.side_by_side(range(3), 64)
    for member in members:
        member.failure = "deadline"  # says that it took long
    slow = Ensemble(members, VOTE, 2, cores=2)
    slow.warm_up(numbered(1), repeats=1)
    assert slow.side_by_side(range(3), 1)
    assert not slow.side_by_side([0], 1)
    assert (quick.way, slow.way) == ("requests", "members")
    for ensemble in (quick, slow):
        ensemble.close()


def test_the_way_is_known_where_a_setting_or_the_warm_up_says_it() -> None:
    members = [ToyMember(name, W2A4, CLASS_0) for name in "abc"]
    assert Ensemble(members, VOTE, 2).way is None
    assert Ensemble(members, VOTE, 2, concurrency="members", cores=1).way == "members"
    assert Ensemble(members, VOTE, 2, concurrency="requests", cores=2).way == "requests"
