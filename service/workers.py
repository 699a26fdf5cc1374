"""Several worker processes behind one port: their parent starts them, lets them change together, and ends them."""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import click
import structlog
from prometheus_client import multiprocess

from runtime.errors import EmpirError
from service.crew import Crew
from service.exposition import FOLDER_VARIABLE
from service.logs import make_logger
from service.oip.grpc_lifespan import require_grpc
from service.probe_process import ProbeProcess
from service.server import DRAIN_S, greeting, listen, require_grpc_port
from service.settings import Settings
from service.worker import work

METRICS = "metrics"
LONGEST_PAUSE_S = 30.0
"""Between the starts of a worker that keeps dying."""


def serve_with_workers(settings: Settings) -> None:
    """Serve with `settings.workers` processes until a signal ends it. Raises OSError, or EmpirError for what is wrong
    with the settings; what is wrong with a bundle its first worker says itself."""
    require_grpc(settings)
    if settings.grpc_port == 0:
        raise EmpirError("--grpc-port: expected a port that the workers can share, got 0; or start one worker")
    require_grpc_port(settings)
    with listen(settings.host, settings.port) as listener, _folder() as folder:
        failed = asyncio.run(Parent(settings, listener, folder, make_logger(settings)).run())
    if failed:
        sys.exit(1)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that only this user may enter, for the socket and the workers' metrics."""
    with tempfile.TemporaryDirectory(prefix="empir-") as name:
        metrics = Path(name) / METRICS
        metrics.mkdir()
        os.environ[FOLDER_VARIABLE] = str(metrics)  # the workers inherit it, and prometheus_client obeys it
        try:
            yield Path(name)
        finally:
            del os.environ[FOLDER_VARIABLE]


class Parent:
    """The parent: owner of the port, of the one probe process, and of the workers' processes."""

    def __init__(
        self, settings: Settings, listener: socket.socket, folder: Path, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._settings, self._listener, self._log = settings, listener, log
        self._folder = folder
        self._probes = ProbeProcess(settings.probe_queue)
        self._processes: set[SpawnProcess] = set()
        self._dismissed: set[int] = set()
        self._crew = Crew(self._probes, log, self._dismiss)
        self._ending = asyncio.Event()
        self._failed = False

    async def run(self) -> bool:
        """Serve until a signal comes; whether a worker could not even start."""
        loop = asyncio.get_running_loop()
        for sent in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sent, self._ending.set)
        server = await asyncio.start_unix_server(self._crew.accept, self._socket)
        keepers = [asyncio.create_task(self._keep())]  # the first alone: what is wrong with a bundle is said once
        await self._until_joined(1)
        keepers += [asyncio.create_task(self._keep()) for _ in range(self._settings.workers - 1)]
        await self._until_joined(self._settings.workers)
        if not self._ending.is_set():
            host, port = self._listener.getsockname()[:2]
            click.echo(greeting(host, port, self._settings))
            starting = asyncio.create_task(self._probes.start())
            await self._ending.wait()
            starting.cancel()
        self._probes.close()
        for process in self._processes:
            process.terminate()
        await asyncio.gather(*keepers)
        server.close()
        return self._failed

    @property
    def _socket(self) -> Path:
        return self._folder / "link"

    async def _until_joined(self, count: int) -> None:
        """Return when so many workers serve, or all is ending."""
        await _first_of(self._crew.until_joined(count), self._ending.wait())

    async def _keep(self) -> None:
        """Keep one worker running: another follows one that dies, after a pause that grows if they keep dying."""
        pause = 0.0
        while not self._ending.is_set():
            started = time.monotonic()
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(self._settings, self._listener, self._socket), name="empir-worker", daemon=True
            )
            process.start()
            self._processes.add(process)
            await self._ended(process)
            self._processes.discard(process)
            self._forget(process.pid or 0)
            if self._ending.is_set():
                return
            if not self._crew.is_formed:  # nothing has ever worked: it has said why
                self._failed = True
                self._ending.set()
                return
            lived = time.monotonic() - started
            pause = 0.0 if lived > LONGEST_PAUSE_S else min(LONGEST_PAUSE_S, max(0.5, 2 * pause))
            self._log.error("worker ended", pid=process.pid, exitcode=process.exitcode, seconds=round(lived, 1))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _ended(self, process: SpawnProcess) -> None:
        """Return when a process is gone; once all is ending it has the time to drain, and no more."""
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(process.sentinel, gone.set)
        try:
            await _first_of(gone.wait(), self._ending.wait())
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), DRAIN_S + 5)
        finally:
            loop.remove_reader(process.sentinel)
        if not gone.is_set():
            process.kill()
        await asyncio.to_thread(process.join)

    def _dismiss(self, pid: int) -> None:
        """End a worker that does not serve yet: there is nothing to drain."""
        for process in self._processes:
            if process.pid == pid:
                self._dismissed.add(pid)
                process.kill()

    def _forget(self, pid: int) -> None:
        """Take a process that has ended out of the metrics: what it is, and if it has never served what it did."""
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        if pid in self._dismissed:  # all its counts are 0, and one that is tried again and again has many successors
            self._dismissed.discard(pid)
            for path in (self._folder / METRICS).glob(f"*_{pid}.db"):
                path.unlink()


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of them is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
