"""The server's memory while it is under load, read beside the run."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
Read = Callable[[], int | None]


class MemoryLog:
    """What is read at each of `times`, in seconds from the first request; a context manager: nothing more after it.

    In a thread: the load generator must not wait for it.
    """

    def __init__(self, times: Iterable[float], read: Read) -> None:
        self.bytes: list[int | None] = []
        self._times, self._read = times, read
        self._begun, self._over = threading.Event(), threading.Event()
        self._start = 0.0
        self._thread = threading.Thread(target=self._keep_reading, daemon=True)

    def begun_by(self, requests: Iterator[T]) -> Iterator[T]:
        """The requests as they are; taking the first one is when the clock starts."""
        return itertools.chain(self._begin(), requests)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._begun.set()
        self._thread.join()

    def _begin(self) -> Iterator[T]:
        self._start = time.perf_counter()
        self._begun.set()
        yield from ()

    def _keep_reading(self) -> None:
        self._begun.wait()
        for at in self._times:
            if self._over.wait(self._start + at - time.perf_counter()):
                return
            self.bytes.append(self._read())
