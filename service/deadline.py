"""The deadline: no answer is given later, and no timer of its own is spent on each."""

import asyncio
import math
import time
from typing import Any, TypeVar

from service.errors import DeadlineExceeded

T = TypeVar("T")


class Deadline:
    """The time that every answer may take from the moment when its request's body is there; one timer for all."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._open: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        """When the timer looks next: never later than the first of those that are open is due."""

    def passed(self, since: float) -> bool:
        """Whether it is too late for an answer to what began at `since`, by time.perf_counter()."""
        return time.perf_counter() - since > self.seconds

    def check(self, since: float) -> None:
        """Raise DeadlineExceeded if it is."""
        if self.passed(since):
            raise self.error()

    async def wait(self, answer: asyncio.Future[T], since: float) -> T:
        """What `answer` brings, in time: raises DeadlineExceeded as soon as that is over, and once more in the end."""
        due = since + self.seconds
        self._open[answer] = due
        if due < self._due:
            self._look_at(due)
        try:
            result = await answer
        finally:
            del self._open[answer]
        self.check(since)  # where the event loop was busy, timers are late and so are wake-ups
        return result

    def error(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"no answer within {1000 * self.seconds:g} ms; the work was dropped")

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - time.perf_counter()), self._look)

    def _look(self) -> None:
        now, self._timer, self._due, first = time.perf_counter(), None, math.inf, math.inf
        for answer, due in self._open.items():
            if due > now:
                first = min(first, due)
            elif not answer.done():
                answer.set_exception(self.error())
        if first < math.inf:
            self._look_at(first)
