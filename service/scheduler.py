"""The scheduler: as many predictions at once as there are cores, off the event loop; the rest wait, boundedly."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from runtime.ensemble import usable_cores
from runtime.member import Images
from runtime.prediction import Mode, Prediction
from service.catalog import Served
from service.errors import DeadlineExceeded, QueueFull
from service.metrics import Metrics
from service.settings import Settings

INLINE_SECONDS = 0.002
"""With nothing else under way an ensemble quicker than this runs on the event loop: handing it to a thread and back
costs more than the loop gains by it."""

AUDIT_PATIENCE_S = 0.01
"""How often an audit looks whether the server has nothing else to do."""


class Scheduler:
    """Runs predictions and, when nothing else does, audits. Lives on one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, chance: random.Random) -> None:
        self._settings, self._metrics, self._chance = settings, metrics, chance
        self._cores = usable_cores()
        self._threads = ThreadPoolExecutor(self._cores, thread_name_prefix="predict")
        self._running = asyncio.Semaphore(self._cores)
        self._waiting = 0
        self._in_flight = 0
        self._admitted = 0
        self._audits: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among the requests that are served or wait; taken once the body is there: slow senders fill none.

        Raises QueueFull at once where there is none left.
        """
        if self._admitted >= self._cores + self._settings.queue:
            raise _full(self._admitted - self._cores)
        self._admitted += 1
        try:
            await asyncio.sleep(0)  # whoever has arrived at the same time is counted before anyone goes on
            yield
        finally:
            self._admitted -= 1

    async def predict(self, served: Served, images: Images, mode: Mode) -> tuple[Prediction, float]:
        """The prediction, and the seconds it waited for a core.

        Raises QueueFull at once when too many wait, DeadlineExceeded when the answer is not there in time.
        """
        limit = self._settings.deadline_ms / 1000
        try:
            if self._alone_and_quick(served, len(images)):
                return self._inline(served, images, mode, limit), 0.0
            if self._running.locked() and self._waiting >= self._settings.queue:
                raise _full(self._waiting)
            async with asyncio.timeout(limit):
                return await self._run(served, images, mode)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {1000 * limit:g} ms; the work was dropped") from error

    def _alone_and_quick(self, served: Served, n_images: int) -> bool:
        quick = served.ensemble.image_seconds
        return self._admitted <= 1 and self._in_flight == 0 and quick is not None and quick * n_images < INLINE_SECONDS

    def _inline(self, served: Served, images: Images, mode: Mode, limit: float) -> Prediction:
        start = time.perf_counter()
        prediction = served.ensemble.predict(images, mode)
        if time.perf_counter() - start > limit:
            raise TimeoutError
        self._consider_audit(served, images, prediction, mode)
        return prediction

    async def _run(self, served: Served, images: Images, mode: Mode) -> tuple[Prediction, float]:
        start = time.perf_counter()
        self._waiting += 1
        self._metrics.queue_depth.set(self._waiting)
        try:
            await self._running.acquire()
        finally:
            self._waiting -= 1
            self._metrics.queue_depth.set(self._waiting)
        waited = time.perf_counter() - start
        # The core is free when the thread is done, which is later than the moment its caller gives up.
        work = asyncio.get_running_loop().run_in_executor(self._threads, served.ensemble.predict, images, mode)
        work.add_done_callback(self._done)
        self._in_flight += 1
        prediction = await asyncio.shield(work)
        self._consider_audit(served, images, prediction, mode)
        return prediction, waited

    def _done(self, work: asyncio.Future[Prediction]) -> None:
        self._in_flight -= 1
        self._running.release()

    def _consider_audit(self, served: Served, images: Images, prediction: Prediction, mode: Mode) -> None:
        """Ask the skipped members once nothing waits; at most one audit at a time, so they never pile up."""
        chosen = mode == "quorum" and self._settings.audit_rate > self._chance.random()
        if not chosen or self._audits or not any("skipped" in row for row in prediction.status):
            return
        task = asyncio.create_task(self._audit_when_idle(served, images, prediction))
        self._audits.add(task)
        task.add_done_callback(self._audits.discard)

    async def _audit_when_idle(self, served: Served, images: Images, prediction: Prediction) -> None:
        while self._admitted >= self._cores:  # on an idle core only
            await asyncio.sleep(AUDIT_PATIENCE_S)
        loop = asyncio.get_running_loop()
        async with self._running:
            dissent = await loop.run_in_executor(self._threads, served.ensemble.dissent, images, prediction)
        if dissent is not None:
            self._metrics.bundles[served.manifest.name].audited(dissent)

    def close(self) -> None:
        for task in self._audits:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _full(waiting: int) -> QueueFull:
    return QueueFull(f"{waiting} predictions are waiting already; try again shortly")
