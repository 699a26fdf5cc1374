"""Audits: what the members that a quorum skipped would have said, asked afterwards, when nothing else is to be done."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from runtime.member import Images
from runtime.prediction import Prediction
from service.catalog import Served
from service.metrics import Metrics

MOST_WAITING = 64
"""Images that may wait for their audit, which an idle core does; those beyond are dropped, and counted."""

Work = Callable[[], list[bool | None]]


@dataclass(frozen=True, slots=True)
class Audit:
    """Images of a batch, and a prediction of them that skipped members for each."""

    served: Served
    images: Images
    prediction: Prediction

    def __call__(self) -> list[bool | None]:
        return self.served.ensemble.dissent(self.images, self.prediction)


class Audits:
    """Those that wait, in order: one runs at a time. Lives on one event loop."""

    def __init__(
        self,
        rate: float,
        metrics: Metrics,
        chance: random.Random,
        on_idle_core: Callable[[Work], Awaitable[list[bool | None]]],
    ) -> None:
        """`rate`: share of quorum answers to audit. `on_idle_core` runs work once a core is idle and nobody waits."""
        self._rate, self._metrics, self._chance, self._on_idle_core = rate, metrics, chance, on_idle_core
        self._waiting: deque[Audit] = deque()
        self._images = 0
        self._task: asyncio.Task[None] | None = None

    def consider(self, served: Served, images: Images, prediction: Prediction) -> None:
        """Choose some of the images [N, C, H, W] of a quorum's prediction, by chance, and have them audited."""
        chosen = [image for image in range(len(images)) if self._rate > self._chance.random()]
        skipped = [image for image in chosen if any(row[image] == "skipped" for row in prediction.status)]
        kept = skipped[: MOST_WAITING - self._images]
        if dropped := len(skipped) - len(kept):
            self._metrics.of(served.manifest).audits_dropped(dropped)
        if not kept:
            return
        self._waiting.append(Audit(served, images[kept], prediction.images(kept)))
        self._images += len(kept)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work_off())

    async def _work_off(self) -> None:
        while self._waiting:
            audit = self._waiting[0]
            try:
                dissents = await self._on_idle_core(audit)
            finally:  # what a fault of one ends is taken up again with the next
                self._waiting.popleft()
                self._images -= len(audit.images)
            for dissent in dissents:
                if dissent is not None:
                    self._metrics.of(audit.served.manifest).audited(dissent)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
