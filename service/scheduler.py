"""The scheduler: predictions run off the event loop, as many at once as there are cores; the rest wait, boundedly."""

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor

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


class Scheduler:
    """Runs predictions and, when nothing else does, audits. Lives on one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, chance: random.Random) -> None:
        self._settings, self._metrics, self._chance = settings, metrics, chance
        cores = usable_cores()
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="predict")
        self._running = asyncio.Semaphore(cores)
        self._waiting = 0
        self._in_flight = 0
        self._audits: set[asyncio.Task[None]] = set()

    async def predict(self, served: Served, images: Images, mode: Mode) -> tuple[Prediction, float]:
        """The prediction, and the seconds it waited for a core.

        Raises QueueFull at once when too many wait, DeadlineExceeded when the answer is not there in time.
        """
        quick = served.ensemble.image_seconds
        if self._in_flight == 0 and quick is not None and quick * len(images) < INLINE_SECONDS:
            prediction = served.ensemble.predict(images, mode)
            self._consider_audit(served, images, prediction, mode)
            return prediction, 0.0
        if self._running.locked() and self._waiting >= self._settings.queue:
            raise QueueFull(f"{self._waiting} predictions are waiting already; try again shortly")
        try:
            async with asyncio.timeout(self._settings.deadline_ms / 1000):
                return await self._run(served, images, mode)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no answer within {self._settings.deadline_ms:g} ms; the work was dropped"
            ) from error

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
        async with self._running:  # a semaphore is fair: whoever waits already goes first
            loop = asyncio.get_running_loop()
            dissent = await loop.run_in_executor(self._threads, served.ensemble.dissent, images, prediction)
        self._metrics.bundles[served.manifest.name].audited(dissent)

    def close(self) -> None:
        for task in self._audits:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
