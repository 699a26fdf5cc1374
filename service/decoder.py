"""Decoding pictures without stopping the event loop, or filling the memory."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from PIL import Image

from runtime.images import fit_image, open_picture, plain_image
from runtime.manifest import Input
from runtime.member import Images
from service.deadline import Deadline
from service.errors import CallerLeft

SMALL_PIXELS = 128 * 128
"""Up to here decoding takes less time than a hop to a thread."""

LIGHT_PIXELS = 1_000_000
"""Up to here a picture needs 20 MB while it is decoded, and waits for a core only; beyond, for memory too."""


class Waiting:
    """A picture that waits to be decoded, or is."""

    __slots__ = ("answer", "arrived", "left", "memory", "picture", "since", "spec", "waited")

    def __init__(self, picture: Image.Image, spec: Input, left: Callable[[], bool], since: float) -> None:
        self.picture, self.spec, self.left, self.since = picture, spec, left, since
        self.arrived, self.waited = time.perf_counter(), 0.0
        pixels = picture.width * picture.height
        self.memory = pixels if pixels > LIGHT_PIXELS else 0
        """Pixels, of those that may be in memory at once."""
        self.answer: asyncio.Future[Images] = asyncio.get_running_loop().create_future()


class Decoder:
    """Small pictures are decoded at once, others on threads: as many as there are cores.

    The largest, 25 megapixels, takes half a gigabyte: so together those over a megapixel have no more pixels than one
    picture may have. In the order in which they came, but a light one does not wait for those that wait for memory.
    """

    def __init__(self, max_pixels: int, cores: int, deadline: Deadline) -> None:
        self._max_pixels, self._cores, self._deadline = max_pixels, cores, deadline
        self._waiting: deque[Waiting] = deque()
        self._running, self._memory = 0, 0

    async def image(
        self, data: bytes, spec: Input, left: Callable[[], bool] = lambda: False, since: float | None = None
    ) -> tuple[Images, float]:
        """Encoded picture to float32 [1, C, H, W], and the seconds that it waited for a core.

        `since`: when its request began, now if that is None. Raises ImageError or ImageTooLarge; without decoding it,
        CallerLeft where `left` says so, and DeadlineExceeded.
        """
        since = time.perf_counter() if since is None else since
        self._deadline.check(since)
        if left():
            raise CallerLeft
        if len(data) <= SMALL_PIXELS and spec.width * spec.height <= min(SMALL_PIXELS, self._max_pixels):
            plain = plain_image(data, spec)
            if plain is not None:
                return plain, 0.0
        picture = open_picture(data, self._max_pixels)
        if picture.width * picture.height <= SMALL_PIXELS and len(data) <= SMALL_PIXELS:
            return fit_image(picture, spec), 0.0
        waiting = Waiting(picture, spec, left, since)
        self._waiting.append(waiting)
        self._start_those_that_fit()
        return await self._deadline.wait(waiting.answer, since), waiting.waited

    def _start_those_that_fit(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        in_line = False  # whether one waits for memory: those that need some stay behind it
        for each in waiting:
            if self._is_gone(each):
                continue
            has_memory = not each.memory or (not in_line and self._memory + each.memory <= self._max_pixels)
            if has_memory and self._running < self._cores:
                self._start(each)
            else:
                in_line = in_line or each.memory > 0
                self._waiting.append(each)

    def _start(self, waiting: Waiting) -> None:
        waiting.waited = time.perf_counter() - waiting.arrived
        self._running += 1
        self._memory += waiting.memory
        work = asyncio.get_running_loop().run_in_executor(None, fit_image, waiting.picture, waiting.spec)
        # Core and memory are free when the thread is done, which is later than the moment its caller gives up.
        work.add_done_callback(partial(self._finish, waiting))

    def _finish(self, waiting: Waiting, work: asyncio.Future[Images]) -> None:
        self._running -= 1
        self._memory -= waiting.memory
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if not waiting.answer.done():
            if error is None:
                waiting.answer.set_result(work.result())
            else:
                waiting.answer.set_exception(error)
        self._start_those_that_fit()

    def _is_gone(self, waiting: Waiting) -> bool:
        if not waiting.answer.done():
            if self._deadline.passed(waiting.since):
                waiting.answer.set_exception(self._deadline.error())
            elif waiting.left():
                waiting.answer.set_exception(CallerLeft)
        return waiting.answer.done()
