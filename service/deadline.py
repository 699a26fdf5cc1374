"""The deadline: no answer takes longer, and no timer of its own is spent on each."""

import asyncio
import time
from collections import deque
from typing import Any

from service.errors import DeadlineExceeded


class Deadline:
    """The time that every answer may take: one timer for all of them, in the order in which they were begun."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._open: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, answer: asyncio.Future[Any], since: float) -> None:
        """Have it raise DeadlineExceeded unless it is there in time."""
        while self._open and self._open[0][0].done():
            self._open.popleft()
        self._open.append((answer, since))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._look)

    def error(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"no answer within {1000 * self.seconds:g} ms; the work was dropped")

    def _look(self) -> None:
        now, self._timer = time.perf_counter(), None
        while self._open:
            answer, since = self._open[0]
            if not answer.done() and since + self.seconds > now:
                self._timer = asyncio.get_running_loop().call_later(since + self.seconds - now, self._look)
                return
            self._open.popleft()
            if not answer.done():
                answer.set_exception(self.error())
