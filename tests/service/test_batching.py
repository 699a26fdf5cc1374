"""Batches: every answer belongs to its own image, whoever else is in the batch, leaves it, or fails in it."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from runtime.ensemble import Concurrency, Timing
from runtime.manifest import Precision
from runtime.member import Answer, Images
from runtime.prediction import Mode
from service.catalog import Catalog, Served
from service.errors import CallerLeft, DeadlineExceeded, QueueFull
from service.metrics import Metrics
from service.scheduler import Placed, Scheduler
from service.settings import Settings
from tests.live import HANG_S
from tests.toy_catalog import Gate, full, low, toy_catalog
from tests.toys import FP32, W2A4, Array, ToyMember, numbered

CLASSES = 64
EYE: Array = np.eye(CLASSES, dtype=np.float32)
NAN_AT = 7
"""Images of this number get an answer from the first member that is not finite."""

RAISES_AT = CLASSES
"""On images of this number the members raise, which only a fault in them does."""

Pace = Literal["cold", "quick", "slow"]
PACES: tuple[Pace, ...] = get_args(Pace)
"""What the warm-up told: nothing; that an image runs inline; that it takes a thread, and members pay side by side."""
SECONDS: dict[Pace, float] = {"quick": 1e-5, "slow": 1.0}


@dataclass(frozen=True)
class Caller:
    """Someone who asks after so many turns of the loop for these images, and may leave before the answer."""

    turn: int
    images: list[int]
    mode: Mode
    leaves_after: int | None
    hangs_up: bool
    """Whether it leaves by closing its connection, which nobody is told of, or by cancelling."""


callers = st.lists(
    st.builds(
        Caller,
        turn=st.integers(0, 6),
        images=st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=3) | st.just([RAISES_AT]),
        mode=st.sampled_from(get_args(Mode)),
        leaves_after=st.none() | st.integers(0, 3),
        hangs_up=st.booleans(),
    ),
    min_size=1,
    max_size=24,
)


def paced(served: Served, pace: Pace) -> Served:
    """The same, as if the warm-up had told this."""
    ensemble = served.ensemble
    if pace != "cold":
        ensemble.concurrency, ensemble.cores = "auto", 3
        ensemble._image_seconds = [SECONDS[pace]] * len(ensemble.members)
        ensemble._hop_seconds = 1e-3
        ensemble.timing = Timing(SECONDS[pace] * len(ensemble.members), SECONDS[pace], 3)
    return served


def numbering_catalog() -> Catalog:
    """Members that know every image's number; the first fails on one of them, and all raise beyond."""
    first = EYE.copy()
    first[NAN_AT] = np.nan
    members = [low(first), low(np.roll(EYE, 1, axis=1) * 0.5 + EYE, "b"), full(EYE)]
    catalog = toy_catalog(*members)
    for served in catalog:
        served.ensemble.n_classes = CLASSES
    return catalog


@contextmanager
def scheduler_of(cores: int, **limits: object) -> Iterator[Scheduler]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.settings.usable_cores", lambda: cores)
        scheduler = Scheduler(Settings(**limits), Metrics(CollectorRegistry()), random.Random(0))  # type: ignore[arg-type]
    try:
        yield scheduler
    finally:
        scheduler.close()


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("cores", [1, 2, 3])
@given(callers, st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_an_answer_belongs_to_its_own_images(pace: Pace, cores: int, arriving: list[Caller], batch_images: int) -> None:
    async def main() -> None:
        catalog = numbering_catalog()
        served = paced(catalog.get(None), pace)
        may_raise = any(RAISES_AT in caller.images for caller in arriving)
        with scheduler_of(cores, batch_images=batch_images, batch_ms=1e6) as scheduler:
            await asyncio.gather(*[attend(scheduler, served, caller, may_raise) for caller in arriving])
            assert (scheduler._place.taken, len(scheduler._waiting)) == (0, 0)
            while scheduler._busy:  # for callers that have left, or with an audit
                await asyncio.sleep(0.001)
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


async def attend(scheduler: Scheduler, served: Served, caller: Caller, may_raise: bool) -> None:
    """One caller's visit: its answer is its own, or it left, or a member raised on an image of its batch."""
    gone = False
    for _ in range(caller.turn):
        await asyncio.sleep(0)

    async def ask() -> Placed:
        with scheduler.place():
            return await scheduler.predict(served, images_of(caller.images), caller.mode, lambda: gone)

    asking = asyncio.ensure_future(ask())
    if caller.leaves_after is not None:
        for _ in range(caller.leaves_after):
            await asyncio.sleep(0)
        gone = True
        if not caller.hangs_up:
            asking.cancel()
    try:
        placed = await asking
    except (asyncio.CancelledError, CallerLeft):
        assert caller.leaves_after is not None
        return
    except IndexError:
        assert may_raise
        return
    assert RAISES_AT not in caller.images
    prediction = placed.judged.prediction.images(list(placed.images))
    assert prediction.verdict.tolist() == caller.images
    for row, number in enumerate(caller.images):
        assert prediction.status[0][row] == ("nonfinite" if number == NAN_AT else "ok")
        skips = caller.mode == "quorum" and number != NAN_AT
        assert prediction.status[2][row] == ("skipped" if skips else "ok")
        assert prediction.votes[1, row] == number


def images_of(numbers: list[int]) -> Array:
    """Images [N, 1, 1, 1] that carry these numbers."""
    return numbered(CLASSES + 1)[numbers]


def asked_while_busy(gate: Gate, other: ToyMember, count: int, size: int = 1, **limits: object) -> list[list[int]]:
    """Which images `other` is asked together, when `count` requests of `size` come while the only core is busy."""

    async def main() -> None:
        catalog = toy_catalog(gate, other)
        served = catalog.get(None)
        with scheduler_of(1, **limits) as scheduler:
            first = asyncio.ensure_future(scheduler.predict(served, images_of([0]), "full"))
            assert await asyncio.to_thread(gate.entered.wait, HANG_S)
            rest = [
                asyncio.ensure_future(scheduler.predict(served, images_of([0] * size), "full")) for _ in range(count)
            ]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gate.opened.set()
            await asyncio.gather(first, *rest)
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))
    return other.asked


def test_those_that_wait_run_together_up_to_the_limit() -> None:
    yes = np.array([[0, 3]], np.float32)
    batches = asked_while_busy(Gate("a", W2A4, yes), ToyMember("c", FP32, yes), 7, batch_images=3)
    assert [len(batch) for batch in batches] == [1, 3, 3, 1]


def test_the_limit_is_of_images_not_of_requests() -> None:
    yes = np.array([[0, 3]], np.float32)
    batches = asked_while_busy(Gate("a", W2A4, yes), ToyMember("c", FP32, yes), 4, 3, batch_images=6)
    assert [len(batch) for batch in batches] == [1, 6, 6]


@pytest.mark.parametrize(("cores", "batches"), [(1, [3]), (4, [1, 1, 1])])
def test_who_arrives_while_the_only_core_decodes_for_others_joins_them(cores: int, batches: list[int]) -> None:
    yes = np.array([[0, 3]], np.float32)
    asked = ToyMember("c", FP32, yes)

    async def main() -> None:
        catalog = toy_catalog(low(yes), asked)

        async def caller(turn: int) -> None:
            for _ in range(turn):
                await asyncio.sleep(0)
            with scheduler.place():
                await scheduler.predict(catalog.get(None), images_of([0]), "full")

        with scheduler_of(cores) as scheduler:
            await asyncio.gather(*map(caller, (0, 1, 2)))
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))
    assert [len(batch) for batch in asked.asked] == batches


def batches_of_a_stream(turns: list[int], bad_turns: int) -> list[int]:
    """How many run together of those who come at these turns of the loop, on an only core, with a quick ensemble;
    meanwhile in each turn, up to `bad_turns`, somebody takes a place and is refused."""
    yes = np.array([[0, 3]], np.float32)
    asked = ToyMember("c", FP32, yes)

    async def main() -> None:
        catalog = toy_catalog(low(yes), asked)
        catalog.get(None).ensemble.timing = Timing(1e-5, 1e-5, 1)
        done = 0

        async def caller(scheduler: Scheduler, turn: int) -> None:
            nonlocal done
            for _ in range(turn):
                await asyncio.sleep(0)
            with scheduler.place():
                await scheduler.predict(catalog.get(None), images_of([0]), "full")
            done += 1

        with scheduler_of(1) as scheduler:
            good = asyncio.gather(*[caller(scheduler, turn) for turn in turns])
            for _ in range(bad_turns):
                with scheduler.place():
                    pass
                await asyncio.sleep(0)
            assert not bad_turns or done == len(turns)
            await good
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))
    return [len(batch) for batch in asked.asked]


def test_an_only_core_does_not_wait_for_those_who_are_refused() -> None:
    assert batches_of_a_stream([0, 0], bad_turns=20) == [2]


def test_an_only_core_waits_for_a_stream_of_others_a_few_turns_only() -> None:
    first, *_ = batches_of_a_stream([0, *range(14)], bad_turns=0)
    assert 2 < first < 10


def test_a_caller_whose_connection_is_closed_is_not_run() -> None:
    async def main() -> None:
        yes = np.array([[0, 3]], np.float32)
        gate, other = Gate("a", W2A4, yes), ToyMember("c", FP32, yes)
        catalog = toy_catalog(gate, other)
        served = catalog.get(None)
        with scheduler_of(1, queue=1) as scheduler:
            first = asyncio.ensure_future(scheduler.predict(served, images_of([0]), "full"))
            assert await asyncio.to_thread(gate.entered.wait, HANG_S)
            left = asyncio.ensure_future(scheduler.predict(served, images_of([0]), "full", lambda: True))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            stays = asyncio.ensure_future(
                scheduler.predict(served, images_of([0]), "full")
            )  # in the place of the other
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with pytest.raises(QueueFull):
                await scheduler.predict(served, images_of([0]), "full")
            gate.opened.set()
            await first
            assert (await stays).judged.prediction.verdict.tolist() == [1]
            with pytest.raises(CallerLeft):
                await left
        assert len(other.asked) == 2
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_a_fault_of_one_batch_ends_there() -> None:
    async def main() -> None:
        catalog = toy_catalog(low(np.array([[0, 3]], np.float32)), full(np.array([[0, 3]], np.float32)))
        served = catalog.get(None)
        with scheduler_of(2) as scheduler:
            wrong = [scheduler.predict(served, images_of([5]), "full") for _ in range(3)]  # the toys know no image 5
            failed = await asyncio.gather(*wrong, return_exceptions=True)
            assert [type(each) for each in failed] == [IndexError] * 3
            assert (await scheduler.predict(served, images_of([0]), "full")).judged.prediction.verdict.tolist() == [1]
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_a_deadline_frees_the_caller_and_not_the_core() -> None:
    async def main() -> None:
        yes = np.array([[0, 3]], np.float32)
        gate = Gate("a", W2A4, yes)
        catalog = toy_catalog(gate, full(yes))
        served = catalog.get(None)
        with scheduler_of(1, deadline_ms=50) as scheduler:
            with pytest.raises(DeadlineExceeded, match="no answer within 50 ms"):
                await scheduler.predict(served, images_of([0]), "full")
            waiting = asyncio.ensure_future(scheduler.predict(served, images_of([0]), "full"))
            await asyncio.sleep(0)
            gate.opened.set()
            assert (await waiting).judged.prediction.verdict.tolist() == [1]
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


@pytest.mark.parametrize("pace", PACES)
def test_who_is_too_late_when_a_batch_is_made_is_not_run(pace: Pace) -> None:
    async def main() -> None:
        asked = full(np.array([[0, 3]], np.float32))
        catalog = toy_catalog(low(np.array([[0, 3]], np.float32)), asked)
        served = paced(catalog.get(None), pace)
        with scheduler_of(1, deadline_ms=HANG_S * 1000) as scheduler, scheduler.place(), scheduler.place():
            late, in_time = time.perf_counter() - HANG_S, time.perf_counter()
            begun = [late + 0.05, late, in_time]  # the first is too late once the loop has been busy for a while
            callers = [scheduler.predict(served, images_of([0]), "full", since=since) for since in begun]
            asking = asyncio.gather(*callers, return_exceptions=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # they wait, and the batch is made next
            time.sleep(0.06)
            answers = await asking
        assert [type(answer) for answer in answers] == [DeadlineExceeded, DeadlineExceeded, Placed]
        assert asked.asked == [[0]]
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("callers", [1, 2], ids=["alone", "batch"])
def test_an_answer_that_is_too_late_is_not_given(pace: Pace, callers: int) -> None:
    class Slow(ToyMember):
        def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
            time.sleep(0.06)
            return super().answer(images, options)

    async def main() -> None:
        catalog = toy_catalog(Slow("a", W2A4, np.array([[0, 3]], np.float32)), full(np.array([[0, 3]], np.float32)))
        served = paced(catalog.get(None), pace)
        with scheduler_of(1, deadline_ms=50) as scheduler:
            asking = [scheduler.predict(served, images_of([0]), "full") for _ in range(callers)]
            answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DeadlineExceeded] * callers
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


class Running:
    """Counts the members that run, of whatever bundle."""

    def __init__(self) -> None:
        self.now, self.most, self._lock = 0, 0, threading.Lock()

    def member(self, name: str, precision: Precision) -> ToyMember:
        counted = self

        class Counting(ToyMember):
            def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
                with counted._lock:
                    counted.now += 1
                    counted.most = max(counted.most, counted.now)
                time.sleep(0.002)
                with counted._lock:
                    counted.now -= 1
                return super().answer(images, options)

        return Counting(name, precision, np.array([[0, 3]], np.float32))


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("concurrency", get_args(Concurrency))
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_no_more_members_run_than_cores_over_all_callers_and_bundles(
    cores: int, concurrency: Concurrency, mode: Mode
) -> None:
    running = Running()

    async def main() -> None:
        catalogs = [
            toy_catalog(running.member("a", W2A4), running.member("b", W2A4), running.member("c", FP32))
            for _ in range(2)
        ]
        bundles = [paced(catalog.get(None), "slow") for catalog in catalogs]
        for served in bundles:
            served.ensemble.concurrency = concurrency
        with scheduler_of(cores, audit_rate=1) as scheduler:

            async def caller(index: int) -> None:
                await asyncio.sleep(0.001 * index)
                with scheduler.place():
                    await scheduler.predict(bundles[index % 2], images_of([0]), mode)

            await asyncio.gather(*map(caller, (*range(8), 40, 42, 80)))
        for catalog in catalogs:
            catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))
    assert running.most == cores if mode == "full" else running.most <= cores


def test_members_side_by_side_take_a_core_each() -> None:
    yes = np.array([[0, 3]], np.float32)

    async def main() -> None:
        gates, other = [Gate(name, W2A4, yes) for name in "ab"], full(yes)
        wide, narrow = toy_catalog(*gates, full(yes)), toy_catalog(low(yes), other)
        with scheduler_of(2) as scheduler:
            first = asyncio.ensure_future(scheduler.predict(paced(wide.get(None), "slow"), images_of([0]), "full"))
            for gate in gates:
                assert await asyncio.to_thread(gate.entered.wait, HANG_S)
            second = asyncio.ensure_future(scheduler.predict(narrow.get(None), images_of([0]), "full"))
            for _ in range(5):
                await asyncio.sleep(0)
            assert (scheduler._busy, len(scheduler._waiting), other.asked) == (2, 1, [])
            for gate in gates:
                gate.opened.set()
            await asyncio.gather(first, second)
            assert scheduler._busy == 0
        wide.close()
        narrow.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))
