"""The scheduler: as many batches at once as there are cores; requests wait only while every core is busy, boundedly."""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np

from runtime.member import Images
from runtime.prediction import Mode
from service.audits import Audits, Work
from service.catalog import Judged, Served
from service.deadline import Deadline
from service.errors import CallerLeft, QueueFull
from service.ledger import Ledger
from service.metrics import Metrics
from service.settings import Settings

INLINE_SECONDS = 0.002
"""An image that takes less runs on the event loop where no core would be idle meanwhile: handing it to a thread and
back costs more than the loop gains by it."""

ONLY_CORE_SECONDS = 0.01
"""The same of a batch of such images on an only core, which is busy whichever thread it is."""

TURNS_FOR_OTHERS = 4
"""Turns of the event loop, at most, in which an only core lets others join a batch that could begin."""

AUDIT_PATIENCE_S = 0.01
"""How often an audit looks whether the server has nothing else to do."""


Ran = Callable[[Judged], None]
"""Told of an execution: what it says of all the images that were in it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A request's share of a batch: its images are those of `judged` from `first` on."""

    judged: Judged
    first: int
    count: int
    waited: float
    """Seconds that it waited for a core."""

    @property
    def images(self) -> range:
        """The request's images among those of the batch."""
        return range(self.first, self.first + self.count)


class Waiting:
    """A request whose images wait for a core."""

    __slots__ = ("answer", "arrived", "images", "in_line", "left", "mode", "ran", "served", "since")

    def __init__(
        self, served: Served, images: Images, mode: Mode, left: Callable[[], bool], since: float, ran: Ran | None
    ) -> None:
        self.served, self.images, self.mode, self.left, self.since, self.ran = served, images, mode, left, since, ran
        self.in_line = False
        """Whether every core was busy when it came."""
        self.answer: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self.arrived = time.perf_counter()

    def settle(self, placed: Placed | None, error: BaseException | None) -> None:
        """Hand the answer over, unless nobody waits for it any more."""
        if self.answer.done():
            return
        if placed is not None:
            self.answer.set_result(placed)
        else:
            self.answer.set_exception(error or asyncio.CancelledError())


class Place:
    """Places for requests: one for each core, and those in which to wait. One object for all: at a digit's pace, a
    context manager made of a generator shows."""

    def __init__(self, cores: int, queue: int) -> None:
        self._cores, self._queue = cores, queue
        self.taken = 0

    def __enter__(self) -> float:
        if self.taken >= self._cores + self._queue:
            raise _full(self.taken - self._cores)
        self.taken += 1
        return time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Scheduler:
    """Runs predictions and, when nothing else does, audits. Lives on one event loop."""

    def __init__(
        self, settings: Settings, metrics: Metrics, chance: random.Random, ledger: Ledger | None = None
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._ledger = ledger or Ledger(1)
        self._cores = settings.cores
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="predict")
        self._waiting: deque[Waiting] = deque()
        self.deadline = Deadline(settings.deadline_ms / 1000)
        self._busy, self._asked = 0, 0
        self._place = Place(self._cores, settings.queue)
        self._dispatching = False
        self._audits = Audits(settings.audit_rate, metrics, chance, self._on_idle_core)

    def place(self) -> AbstractContextManager[float]:
        """A place among the requests that are served or wait; taken once the body is there: slow senders fill none.

        Entering it gives the time at which the deadline begins; it raises QueueFull at once where there is none left.
        """
        return self._place

    async def predict(
        self,
        served: Served,
        images: Images,
        mode: Mode,
        left: Callable[[], bool] = lambda: False,
        since: float | None = None,
        ran: Ran | None = None,
    ) -> Placed:
        """The answer for images [N, C, H, W], alone or in a batch with others of the same bundle and mode.

        `left` says whether the caller has gone: then its images are not run. `since`: when its place was taken, now if
        that is None. `ran` is told of the execution, unless another of the same batch has been: whether or not this
        caller is still there. Raises QueueFull at once when too many wait, DeadlineExceeded when the answer is not
        there in time, CallerLeft when it was waiting and has gone.
        """
        since = time.perf_counter() if since is None else since
        self._asked += 1
        await asyncio.sleep(0)  # whoever has arrived at the same time is counted before anyone goes on
        self.deadline.check(since)
        alone = self._place.taken <= 1 and self._busy == 0 and not self._waiting
        if alone and _estimate(served, len(images)) < INLINE_SECONDS:
            judged = served.predict(images, mode, self._cores)
            self._ran(served, images, mode, judged, ran)
            self.deadline.check(since)
            return Placed(judged, 0, len(images), 0.0)
        if self._busy >= self._cores and len(self._waiting) >= self._settings.queue:
            self._waiting = deque(each for each in self._waiting if not self._is_gone(each))
            if len(self._waiting) >= self._settings.queue:
                raise _full(len(self._waiting))
        waiting = Waiting(served, images, mode, left, since, ran)
        waiting.in_line = self._busy >= self._cores
        self._waiting.append(waiting)
        self._depth()
        self._dispatch_soon()
        return await self.deadline.wait(waiting.answer, since)

    def _dispatch_soon(self) -> None:
        """Once all that has arrived by now has been queued: then it makes one batch, not many."""
        if not self._dispatching and self._busy < self._cores:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch, self._asked, TURNS_FOR_OTHERS)

    def _dispatch(self, asked: int, turns: int) -> None:
        # On an only core the event loop is the core, and it has just been busy with those who came meanwhile. Those
        # who came and were refused do not count, and the turns have an end: nobody waits for what others send.
        others = asked != self._asked
        if self._cores == 1 and turns and others and len(self._waiting) < self._settings.batch_images:
            asyncio.get_running_loop().call_soon(self._dispatch, self._asked, turns - 1)
            return
        self._dispatching = False
        while self._waiting and self._busy < self._cores:
            batch = self._next_batch()
            if batch:
                self._start(batch)
        self._depth()

    def _next_batch(self) -> list[Waiting]:
        """Those that may run together with the one that waits longest; who has gone or is too late leaves here."""
        live = [each for each in self._waiting if not self._is_gone(each)]
        if not live:
            self._waiting.clear()
            return []
        first = live[0]
        rest: list[Waiting] = []
        alike = sum(len(each.images) for each in live if each.served is first.served and each.mode == first.mode)
        idle = self._cores - self._busy
        most = min(self._most_images(first.served), -(-alike // idle))  # no core stays idle while requests wait
        batch, images = [first], len(first.images)
        for each in live[1:]:
            fits = each.served is first.served and each.mode == first.mode and images + len(each.images) <= most
            (batch if fits else rest).append(each)
            images += len(each.images) if fits else 0
        self._waiting = deque(rest)
        return batch

    def _most_images(self, served: Served) -> int:
        timing = served.ensemble.timing
        if timing is None or timing.in_turn <= 0:
            return self._settings.batch_images
        return max(1, min(self._settings.batch_images, int(self._settings.batch_ms / 1000 / timing.in_turn)))

    def _start(self, batch: list[Waiting]) -> None:
        first = batch[0]
        images = first.images if len(batch) == 1 else np.concatenate([each.images for each in batch])
        started = time.perf_counter()
        # Where requests wait for cores, they keep those busy better than members side by side do.
        idle = 1 if self._waiting or first.in_line else self._cores - self._busy
        took = 1 if idle == 1 else first.served.ensemble.width(first.mode, len(images), idle)
        self._busy += took
        small = _estimate(first.served, 1) < INLINE_SECONDS
        if self._cores == 1 and small and _estimate(first.served, len(images)) < ONLY_CORE_SECONDS:
            try:
                judged = first.served.predict(images, first.mode, idle)
            except Exception as error:
                self._finish(batch, images, started, took, None, error)
            else:
                self._finish(batch, images, started, took, judged, None)
            return
        work = asyncio.get_running_loop().run_in_executor(self._threads, first.served.predict, images, first.mode, idle)
        # The core is free when the thread is done, which is later than the moment its callers give up.
        work.add_done_callback(lambda done: self._finish(batch, images, started, took, *_outcome(done)))

    def _finish(
        self,
        batch: list[Waiting],
        images: Images,
        started: float,
        took: int,
        judged: Judged | None,
        error: BaseException | None,
    ) -> None:
        self._busy -= took
        row = 0
        for each in batch:
            placed = None if judged is None else Placed(judged, row, len(each.images), started - each.arrived)
            each.settle(placed, error)
            row += len(each.images)
        if self._waiting:
            self._dispatch_soon()
        if judged is not None:
            first_told = next((each.ran for each in batch if each.ran is not None), None)
            self._ran(batch[0].served, images, batch[0].mode, judged, first_told)

    def _ran(self, served: Served, images: Images, mode: Mode, judged: Judged, ran: Ran | None) -> None:
        if ran is not None:
            ran(judged)
        self._ledger.note(partial(self._metrics.of(served.manifest).ran, judged.prediction))
        if mode == "quorum":
            self._audits.consider(served, images, judged.prediction)

    def _is_gone(self, waiting: Waiting) -> bool:
        if not waiting.answer.done():
            if self.deadline.passed(waiting.since):
                waiting.answer.set_exception(self.deadline.error())
            elif waiting.left():
                waiting.answer.set_exception(CallerLeft)
        return waiting.answer.done()

    def _depth(self) -> None:
        self._metrics.queue_depth.set(len(self._waiting))

    async def _on_idle_core(self, audit: Work) -> list[bool | None]:
        while self._place.taken >= self._cores or self._busy >= self._cores:
            await asyncio.sleep(AUDIT_PATIENCE_S)
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, audit)
        finally:
            self._busy -= 1
            self._dispatch_soon()

    def close(self) -> None:
        self._audits.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _estimate(served: Served, n_images: int) -> float:
    """Seconds for so many images, all members in turn; infinite where no warm-up has told."""
    timing = served.ensemble.timing
    return math.inf if timing is None else timing.in_turn * n_images


def _outcome(work: asyncio.Future[Judged]) -> tuple[Judged | None, BaseException | None]:
    if work.cancelled():
        return None, asyncio.CancelledError()
    error = work.exception()
    return (None, error) if error is not None else (work.result(), None)


def _full(waiting: int) -> QueueFull:
    return QueueFull(f"{waiting} predictions are waiting already; try again shortly")
