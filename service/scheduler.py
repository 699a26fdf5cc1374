"""The scheduler: as many batches at once as there are cores; requests wait only while every core is busy, boundedly."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from runtime.ensemble import usable_cores
from runtime.member import Images
from runtime.prediction import Mode, Prediction
from service.catalog import Judged, Served
from service.errors import DeadlineExceeded, QueueFull
from service.ledger import Ledger
from service.metrics import Metrics
from service.settings import Settings

INLINE_SECONDS = 0.002
"""A batch that takes less runs on the event loop where no core would be idle meanwhile: handing it to a thread and back
costs more than the loop gains by it."""

AUDIT_PATIENCE_S = 0.01
"""How often an audit looks whether the server has nothing else to do."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A request's share of a batch: its images are those of `judged` from `first` on."""

    judged: Judged
    first: int
    count: int
    waited: float
    """Seconds that it waited for a core."""

    @property
    def prediction(self) -> Prediction:
        """The prediction for the request's images alone."""
        whole = self.judged.prediction
        if self.count == len(whole.verdict):
            return whole
        return whole.images(slice(self.first, self.first + self.count))

    @property
    def suspicious(self) -> list[bool | None]:
        """Which of the request's images are suspicious."""
        return self.judged.suspicious[self.first : self.first + self.count]


class Waiting:
    """A request whose images wait for a core."""

    __slots__ = ("answer", "images", "left", "mode", "served", "since", "timer")

    def __init__(self, served: Served, images: Images, mode: Mode, left: Callable[[], bool]) -> None:
        self.served, self.images, self.mode, self.left = served, images, mode, left
        self.answer: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self.since = time.perf_counter()
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, placed: Placed | None, error: BaseException | None = None) -> None:
        """Hand the answer over, unless nobody waits for it any more."""
        if self.timer is not None:
            self.timer.cancel()
        if self.answer.done():
            return
        if placed is not None:
            self.answer.set_result(placed)
        else:
            self.answer.set_exception(error or asyncio.CancelledError())


class Scheduler:
    """Runs predictions and, when nothing else does, audits. Lives on one event loop."""

    def __init__(
        self, settings: Settings, metrics: Metrics, chance: random.Random, ledger: Ledger | None = None
    ) -> None:
        self._settings, self._metrics, self._chance = settings, metrics, chance
        self._ledger = ledger or Ledger(1)
        self._cores = max(1, usable_cores() // settings.workers)
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="predict")
        self._waiting: deque[Waiting] = deque()
        self._busy = 0
        self._admitted = 0
        self._dispatching = False
        self._audits: set[asyncio.Task[None]] = set()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests that are served or wait; taken once the body is there: slow senders fill none.

        Raises QueueFull at once where there is none left.
        """
        if self._admitted >= self._cores + self._settings.queue:
            raise _full(self._admitted - self._cores)
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def predict(
        self, served: Served, images: Images, mode: Mode, left: Callable[[], bool] = lambda: False
    ) -> Placed:
        """The answer for images [N, C, H, W], alone or in a batch with others of the same bundle and mode.

        `left` says whether the caller has gone: then its images are not run. Raises QueueFull at once when too many
        wait, DeadlineExceeded when the answer is not there in time.
        """
        await asyncio.sleep(0)  # whoever has arrived at the same time is counted before anyone goes on
        limit = self._settings.deadline_ms / 1000
        if self._admitted <= 1 and self._busy == 0 and not self._waiting and self._is_quick(served, len(images)):
            judged = served.predict(images, mode, self._cores)
            if judged.prediction.inference_seconds > limit:
                raise _late(limit)
            self._ran(served, images, mode, judged)
            return Placed(judged, 0, len(images), 0.0)
        if self._busy >= self._cores and len(self._waiting) >= self._settings.queue:
            self._waiting = deque(each for each in self._waiting if not self._is_gone(each))
            if len(self._waiting) >= self._settings.queue:
                raise _full(len(self._waiting))
        waiting = Waiting(served, images, mode, left)
        waiting.timer = asyncio.get_running_loop().call_later(limit, waiting.settle, None, _late(limit))
        self._waiting.append(waiting)
        self._depth()
        self._dispatch_soon()
        return await waiting.answer

    def _is_quick(self, served: Served, n_images: int) -> bool:
        timing = served.ensemble.timing
        return timing is not None and timing.in_turn * n_images < INLINE_SECONDS

    def _dispatch_soon(self) -> None:
        """Once all that has arrived by now has been queued: then it makes one batch, not many."""
        if not self._dispatching and self._busy < self._cores:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while self._waiting and self._busy < self._cores:
            batch = self._next_batch()
            if batch:
                self._start(batch)
        self._depth()

    def _next_batch(self) -> list[Waiting]:
        """Those that may run together with the one that waits longest; those whose callers have gone leave here."""
        live = [each for each in self._waiting if not self._is_gone(each)]
        if not live:
            self._waiting.clear()
            return []
        first = live[0]
        rest: list[Waiting] = []
        alike = sum(each.served is first.served and each.mode == first.mode for each in live)
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
        idle = self._cores - self._busy
        self._busy += 1
        if self._cores == 1 and self._is_quick(first.served, len(images)):
            try:
                judged = first.served.predict(images, first.mode, idle)
            except Exception as error:
                self._finish(batch, images, started, None, error)
            else:
                self._finish(batch, images, started, judged, None)
            return
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, first.served.predict, images, first.mode, idle if not self._waiting else 1
        )
        # The core is free when the thread is done, which is later than the moment its callers give up.
        work.add_done_callback(lambda done: self._finish(batch, images, started, *_outcome(done)))

    def _finish(
        self, batch: list[Waiting], images: Images, started: float, judged: Judged | None, error: BaseException | None
    ) -> None:
        self._busy -= 1
        row = 0
        for each in batch:
            placed = None if judged is None else Placed(judged, row, len(each.images), started - each.since)
            each.settle(placed, error)
            row += len(each.images)
        if self._waiting:
            self._dispatch_soon()
        if judged is not None:
            self._ran(batch[0].served, images, batch[0].mode, judged)

    def _ran(self, served: Served, images: Images, mode: Mode, judged: Judged) -> None:
        self._ledger.note(partial(self._metrics.of(served.manifest).ran, judged.prediction))
        if mode == "quorum":
            self._consider_audit(served, images, judged.prediction)

    def _is_gone(self, waiting: Waiting) -> bool:
        if not waiting.answer.done() and waiting.left():
            waiting.answer.cancel()
        return waiting.answer.done()

    def _depth(self) -> None:
        self._metrics.queue_depth.set(len(self._waiting))

    def _consider_audit(self, served: Served, images: Images, prediction: Prediction) -> None:
        """Ask the skipped members once nothing waits; at most one audit at a time, so they never pile up."""
        rate = self._settings.audit_rate
        chosen = [image for image in range(len(images)) if rate > self._chance.random()]
        skipped = [image for image in chosen if any(row[image] == "skipped" for row in prediction.status)]
        if self._audits or not skipped:
            return
        task = asyncio.create_task(self._audit_when_idle(served, images[skipped], prediction.images(skipped)))
        self._audits.add(task)
        task.add_done_callback(self._audits.discard)

    async def _audit_when_idle(self, served: Served, images: Images, prediction: Prediction) -> None:
        while self._admitted >= self._cores or self._busy >= self._cores:  # on an idle core only
            await asyncio.sleep(AUDIT_PATIENCE_S)
        self._busy += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(
                self._threads, served.ensemble.dissent, images, prediction
            )
            dissents = await work
        finally:
            self._busy -= 1
            self._dispatch_soon()
        for dissent in dissents:
            if dissent is not None:
                self._metrics.of(served.manifest).audited(dissent)

    def close(self) -> None:
        for task in self._audits:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _outcome(work: asyncio.Future[Judged]) -> tuple[Judged | None, BaseException | None]:
    if work.cancelled():
        return None, asyncio.CancelledError()
    error = work.exception()
    return (None, error) if error is not None else (work.result(), None)


def _late(limit: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"no answer within {1000 * limit:g} ms; the work was dropped")


def _full(waiting: int) -> QueueFull:
    return QueueFull(f"{waiting} predictions are waiting already; try again shortly")
