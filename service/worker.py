"""One of several worker processes: what it asks of their parent, and what the parent asks of it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.errors import EmpirError
from runtime.manifest import Manifest
from service.catalog import Catalog, Served
from service.errors import BundleRefused, Unavailable
from service.ledger import Ledger
from service.link import Link
from service.metrics import Metrics
from service.oip.statistics import Statistics
from service.repository import Repository
from service.settings import Settings
from service.unbroken import unbroken

if TYPE_CHECKING:
    from robustness.probe_report import ProbeReport
    from service.probe_process import Job

REPORT_S = 0.1
"""How often a worker tells its parent what it has done, if there is anything new."""

Generations = dict[str, tuple[str, int]]
"""Identity and generation, by name, of every bundle that is served."""


def identity(manifest: Manifest) -> str:
    """A bundle's version, and what differs as soon as anything in it does: its manifest has every file's sha256."""
    return f"{manifest.version} ({sha256(manifest.model_dump_json().encode()).hexdigest()[:16]})"


class RemoteProbes:
    """The parent's one probe process, as a worker sees it."""

    pid = None

    def __init__(self, link: Link) -> None:
        self._link = link

    async def start(self) -> None:
        """The parent starts it."""

    async def run(self, job: "Job") -> "ProbeReport":
        """The report on one job; raises as the probe process does."""
        report: ProbeReport = await self._link.ask("probe", job)
        return report

    def close(self) -> None:
        """The parent ends it."""


class SharedRepository(Repository):
    """A repository whose changes are made by all workers together, or by none."""

    def __init__(self, settings: Settings, catalog: Catalog, metrics: Metrics, link: Link) -> None:
        super().__init__(settings, catalog, metrics)
        self._link = link

    async def load(self, name: str) -> Served:
        """As a repository's, once every worker serves it. Raises what the first worker that refuses does."""
        return await unbroken(self._load(name))

    async def unload(self, name: str) -> None:
        """As a repository's, once no worker serves it any more."""
        await unbroken(self._unload(name))

    async def _load(self, name: str) -> Served:
        try:
            await self._link.ask("load", name)
        except BundleRefused:
            self._metrics.bundle_reloads.labels("failed").inc()
            raise
        self._metrics.bundle_reloads.labels("loaded").inc()
        return self._catalog.get(name)

    async def _unload(self, name: str) -> None:
        self.check_unload(name)
        await self._link.ask("unload", name)
        self._metrics.bundle_reloads.labels("unloaded").inc()

    @property
    def generations(self) -> Generations:
        """What this worker serves."""
        return {each.manifest.name: (identity(each.manifest), each.generation) for each in self._catalog}

    def adopt(self, generations: Generations) -> None:
        """Serve what the others serve: without what they have unloaded, and under their generations."""
        for served in list(self._catalog):
            name = served.manifest.name
            if name in generations:
                self.put(served, generations[name][1])
            else:
                self.drop(name)


@dataclass
class Worker:
    """This process among the workers, while it serves."""

    link: Link
    repository: SharedRepository
    statistics: Statistics
    ledger: Ledger

    def __post_init__(self) -> None:
        self._prepared: dict[str, Served] = {}

    async def answer(self, what: str, *arguments: Any) -> Any:
        """What the parent asks."""
        match what, *arguments:
            case "prepare", name:
                self._prepared[name] = prepared = await self.repository.prepare(name)
                return identity(prepared.manifest), self.repository.next_generation(prepared)
            case "commit", name, generation:
                self.repository.put(self._prepared.pop(name), generation)
            case "abort", name:
                self._prepared.pop(name, None)
            case "drop", name:
                self.repository.drop(name)
            case "statistics", *_:
                self.ledger.flush()
                return self.statistics
        return None

    async def total_statistics(self) -> Statistics:
        """What all workers have done, those that have ended too."""
        total: Statistics = await self.link.ask("statistics")
        return total

    async def report(self) -> None:
        """Hand over to the parent what has been done, again and again: of a worker that is killed, the rest is lost."""
        told = 0
        with suppress(Unavailable):
            while True:
                if told != (told := self.statistics.events):
                    await self.link.ask("tally", self.statistics)
                await asyncio.sleep(REPORT_S)

    async def leave(self) -> None:
        """Hand over the last that has been done, and end the link."""
        with suppress(Unavailable):
            await self.link.ask("tally", self.statistics)
        self.link.close()


@asynccontextmanager
async def joined(
    path: Path, settings: Settings, catalog: Catalog, metrics: Metrics, ledger: Ledger
) -> AsyncIterator[Worker]:
    """This process as a worker of the parent that listens at `path`, until the block ends; it ends with its parent."""

    async def answer(what: str, *arguments: Any) -> Any:
        return await worker.answer(what, *arguments)

    link = await Link.connect(path, answer)
    worker = Worker(link, SharedRepository(settings, catalog, metrics, link), Statistics(), ledger)
    worker.repository.adopt(await link.ask("hello", os.getpid(), worker.repository.generations))
    tasks = [asyncio.create_task(_end_with(link)), asyncio.create_task(worker.report())]
    try:
        yield worker
    finally:
        for task in tasks:
            task.cancel()
        await worker.leave()


async def _end_with(link: Link) -> None:
    await link.closed()
    os.kill(os.getpid(), signal.SIGTERM)


def work(settings: Settings, listener: socket.socket, path: Path) -> None:
    """A worker's life, from its start in a process of its own: load, join the parent, serve until SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to end
    import uvicorn

    from service.app import create_app
    from service.logs import adopt, make_logger
    from service.server import configure, drain, settle

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            signal.signal(signal.SIGTERM, self._end)
            yield

        def _end(self, *_: object) -> None:
            drain(self.config.app)
            self.should_exit = True

    log = make_logger(settings)
    adopt(log)
    try:
        app = create_app(settings, Catalog.load(settings), log, parent=path)
        settle()
        Server(configure(app, settings)).run(sockets=[listener])
    except EmpirError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
