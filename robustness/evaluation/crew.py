"""A crew: the workers that run an evaluation's tasks, in this process, in processes beside it, or on a Ray cluster."""

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from robustness.evaluation.worker import Outcome, Task, Worker
from runtime.bundle import Bundle
from runtime.errors import InvalidValue

Work = Callable[[Task], Outcome]
ADMISSION = "if it asks for a token, RAY_AUTH_MODE=token and that token must be set here as well"


class Crew(Protocol):
    """Takes tasks; `size` of them are worked on at once."""

    size: int
    died: tuple[type[Exception], ...]
    """What a future raises whose worker ended without a word."""

    def submit(self, task: Task) -> "Future[Outcome]":
        """The future raises what the task raised, or one of `died`."""
        ...

    def close(self) -> None: ...


class Alone:
    """This process and no other: a task is finished when `submit` returns."""

    size = 1
    died: tuple[type[Exception], ...] = ()

    def __init__(self, work: Work, close: Callable[[], None] = lambda: None) -> None:
        self._work, self.close = work, close

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "Alone":
        worker = Worker(bundle)
        return cls(worker.run, worker.close)

    def submit(self, task: Task) -> "Future[Outcome]":
        future: Future[Outcome] = Future()
        future.set_result(self._work(task))
        return future


class Processes:
    """Processes on this machine; each opens the bundle for itself. Spawned: sessions do not survive a fork."""

    died: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def __init__(self, bundle: Bundle, size: int) -> None:
        self.size = size
        self._others, self._mine = multiprocessing.active_children(), list[BaseProcess]()
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(size, spawn, initializer=_open, initargs=(bundle,))

    def submit(self, task: Task) -> "Future[Outcome]":
        future = self._pool.submit(_run, task)
        if not self._mine:  # the first task starts them all
            self._mine = [each for each in multiprocessing.active_children() if each not in self._others]
        return future

    def close(self) -> None:
        """What runs is ended at once: its chunk's earlier steps are saved."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._mine:
            process.terminate()


class RayCluster:
    """Actors on a Ray cluster, one for each core of it, or `size`; each is sent the bundle's bytes and opens them."""

    def __init__(self, bundle: Bundle, address: str, size: int | None = None) -> None:
        """`address` is Ray's own, such as `auto`, `local` or `host:6379`. Raises InvalidValue without Ray, and without
        a cluster there that lets us in.
        """
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InvalidValue('ray: needs the package ray: pip install -e ".[ray]"') from error
        self._ray, gone = ray, ray.exceptions
        self.died: tuple[type[Exception], ...] = (
            gone.RayActorError,
            gone.WorkerCrashedError,
            gone.NodeDiedError,
            gone.OutOfMemoryError,
            gone.ObjectLostError,
        )
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that this ran
        options = {"include_dashboard": False, "num_cpus": size} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, ignore_reinit_error=True, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidValue(
                f"ray: expected a cluster at {address!r}: {str(error).strip(' .') or 'none'}; {ADMISSION}"
            ) from error
        self.size = size or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor, shared = ray.remote(num_cpus=1)(Worker), ray.put(bundle)
        self._actors: list[Any] = [actor.remote(shared) for _ in range(self.size)]
        self._busy = [0] * self.size

    def submit(self, task: Task) -> "Future[Outcome]":
        least = self._busy.index(min(self._busy))
        self._busy[least] += 1
        future: Future[Outcome] = self._actors[least].run.remote(task).future()
        future.add_done_callback(lambda _: self._free(least))
        return future

    def close(self) -> None:
        self._ray.shutdown()

    def _free(self, actor: int) -> None:
        self._busy[actor] -= 1


_worker: Worker | None = None
"""Of a process of `Processes`: opened once, when it starts."""


def _open(bundle: Bundle) -> None:
    global _worker  # noqa: PLW0603 - the executor has no other place for what its processes keep
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    _worker = Worker(bundle)


def _end_after(parent: BaseProcess) -> None:
    """A parent that was killed cannot say so."""
    parent.join()
    os._exit(1)


def _run(task: Task) -> Outcome:
    assert _worker is not None
    return _worker.run(task)
