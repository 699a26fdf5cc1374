"""What workers agree on: a change reaches all of them or none, and nobody joins who would answer otherwise."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.crew import Crew
from service.errors import BundleRefused, UnknownModel
from service.link import Link
from service.logs import make_logger
from service.oip.statistics import Statistics
from service.probe_process import ProbeProcess
from service.settings import Settings
from service.worker import Generations
from tests.live import HANG_S


@dataclass
class Disk:
    """The bundles' folder: versions by name."""

    versions: dict[str, str]


@dataclass
class Toy:
    """A worker without a server: what it serves, and what it was asked."""

    disk: Disk
    serves: Generations
    prepared: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    statistics: Statistics = field(default_factory=Statistics)
    gate: tuple[str, asyncio.Event] | None = None
    """Something that it is asked, and what its answer to that waits for."""
    link: Link | None = None

    async def answer(self, what: str, *arguments: Any) -> Any:
        self.asked.append(what)
        if self.gate is not None and self.gate[0] == what:
            await self.gate[1].wait()
        match what, *arguments:
            case "prepare", name:
                if name not in self.disk.versions:
                    raise UnknownModel(f"model: no {name}")
                if self.disk.versions[name] == "broken":
                    raise BundleRefused(f"{name}: broken")
                self.prepared[name] = version = self.disk.versions[name]
                served, number = self.serves.get(name, ("", 0))
                return version, number + (version != served)
            case "commit", name, generation:
                self.serves[name] = (self.prepared.pop(name), generation)
            case "abort", name:
                self.prepared.pop(name, None)
            case "drop", name:
                del self.serves[name]
            case "statistics", *_:
                return self.statistics
        return None

    async def until_asked(self, what: str) -> None:
        while what not in self.asked:
            await asyncio.sleep(0)

    def die(self) -> None:
        assert self.link is not None
        self.link.close()

    async def ask(self, what: str, *arguments: Any) -> Any:
        assert self.link is not None
        return await self.link.ask(what, *arguments)


@dataclass
class Parent:
    """A crew, its folder of bundles, what it has logged, and whom it has turned away."""

    crew: Crew
    socket: Path
    disk: Disk
    lines: io.StringIO
    dismissed: list[int]
    workers: list[Toy] = field(default_factory=list)

    async def join(self, pid: int) -> Toy:
        """A worker that has loaded what is on disk, and says hello. Raises as the crew refuses it."""
        worker = Toy(self.disk, {name: (version, 1) for name, version in self.disk.versions.items()})
        worker.link = await Link.connect(self.socket, worker.answer)
        self.workers.append(worker)
        generations: Generations = await worker.ask("hello", pid, dict(worker.serves))
        # As a worker adopts them: without what is served no more.
        worker.serves = {name: (worker.serves[name][0], number) for name, (_, number) in generations.items()}
        return worker

    async def leave(self, worker: Toy) -> None:
        """A worker's process ends."""
        before = len(self.crew)
        worker.die()
        while len(self.crew) == before:
            await asyncio.sleep(0)

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]


@asynccontextmanager
async def parent(folder: Path, **versions: str) -> AsyncIterator[Parent]:
    """A parent that listens."""
    lines, dismissed = io.StringIO(), list[int]()
    logger = make_logger(Settings(log_format="json"), lines)
    crew = Crew(ProbeProcess(1), logger, dismissed.append)
    server = await asyncio.start_unix_server(crew.accept, str(folder / "link"))
    made = Parent(crew, folder / "link", Disk(versions), lines, dismissed)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.die()
        server.close()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, which must end."""

    async def bounded() -> None:
        await asyncio.wait_for(main(), HANG_S)

    asyncio.run(bounded())


def test_a_change_reaches_all_workers(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1", b="1") as made:
            one, two = await made.join(1), await made.join(2)
            made.disk.versions["a"] = "2"
            await one.ask("load", "a")
            assert one.serves == two.serves == {"a": ("2", 2), "b": ("1", 1)}
            await two.ask("unload", "b")
            assert one.serves == two.serves == {"a": ("2", 2)}
            assert (await made.join(3)).serves == {"a": ("2", 2)}  # though it has found b on the disk

    run(main)


@pytest.mark.parametrize("dies", [False, True], ids=["leaves", "dies"])
@pytest.mark.parametrize("step", ["prepare", "commit"])
def test_a_change_comes_to_its_end_though_who_asked_for_it_leaves_or_dies(
    tmp_path: Path, step: str, dies: bool
) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1") as made:
            asker, two, three = [await made.join(pid) for pid in (1, 2, 3)]
            made.disk.versions["a"] = "2"
            gate = asyncio.Event()
            three.gate = (step, gate)
            asking = asyncio.ensure_future(asker.ask("load", "a"))
            await asyncio.gather(two.until_asked(step), three.until_asked(step))
            if dies:
                await made.leave(asker)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            for _ in range(200):
                await asyncio.sleep(0)  # whatever the leaving sets off
            gate.set()
            while three.serves["a"][0] != "2":
                await asyncio.sleep(0)
            assert two.serves == three.serves == {"a": ("2", 2)}
            assert dies or asker.serves == two.serves
            assert [worker.prepared for worker in (two, three)] == [{}, {}]
            assert (await made.join(4)).serves == two.serves

    run(main)


def test_a_change_that_one_worker_refuses_reaches_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1") as made:
            one, two = await made.join(1), await made.join(2)
            two.disk = Disk({"a": "broken"})
            made.disk.versions["a"] = "2"
            with pytest.raises(BundleRefused, match="a: broken"):
                await one.ask("load", "a")
            assert one.serves == two.serves == {"a": ("1", 1)}
            assert one.prepared == two.prepared == {}

    run(main)


def test_a_worker_that_lacks_what_the_others_serve_does_not_join_until_it_has_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1", b="1") as made:
            one, two = await made.join(1), await made.join(2)
            await made.leave(two)
            del made.disk.versions["b"]
            with pytest.raises(UnknownModel, match="no b"):
                await made.join(3)
            assert len(made.crew) == 1 and made.dismissed == [3]
            (line,) = made.errors
            assert line["event"] == "worker turned away"
            assert {key: line[key] for key in ("pid", "bundle", "served", "has", "reason")} == {
                "pid": 3,
                "bundle": "b",
                "served": "1",
                "has": None,
                "reason": "model: no b",
            }
            assert one.serves == {"a": ("1", 1), "b": ("1", 1)}
            made.disk.versions["b"] = "1"
            assert (await made.join(4)).serves == one.serves
            assert len(made.crew) == 2 and made.dismissed == [3]

    run(main)


def test_a_worker_that_finds_another_version_makes_all_load_it_or_does_not_join(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1") as made:
            one = await made.join(1)
            made.disk.versions["a"] = "2"
            two = await made.join(2)
            assert one.serves == two.serves == {"a": ("2", 2)}
            one.disk = Disk({"a": "broken"})
            made.disk.versions["a"] = "3"
            with pytest.raises(BundleRefused):
                await made.join(3)
            assert one.serves == two.serves == {"a": ("2", 2)}
            assert made.dismissed == [3] and len(made.crew) == 2

    run(main)


def test_after_the_last_worker_the_next_serves_what_it_has_and_what_is_lost_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1", b="1", c="1", d="1") as made:
            one = await made.join(1)
            await one.ask("unload", "d")
            await made.leave(one)
            del made.disk.versions["b"]
            made.disk.versions["c"] = "2"
            two = await made.join(2)
            assert two.serves == {"a": ("1", 1), "c": ("2", 2)}
            assert [line["bundles"] for line in made.errors] == [["b"]]

    run(main)


def did(count: int) -> Statistics:
    """What a worker that has answered so many requests has done."""
    statistics = Statistics()
    statistics.of("a", "1").tallies["success"].count = count
    return statistics


async def total(worker: Toy) -> int:
    """How many requests all workers have answered, as one of them is told."""
    statistics: Statistics = await worker.ask("statistics")
    return statistics.of("a", "1").tallies["success"].count


def test_totals_are_of_all_workers_and_never_fall(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1") as made:
            one, two, three = [await made.join(pid) for pid in (1, 2, 3)]
            one.statistics, two.statistics, three.statistics = did(1), did(10), did(100)
            assert await total(one) == 111
            await made.leave(two)  # it was asked
            assert await total(one) == 111
            await three.ask("tally", did(200))  # it has told
            await made.leave(three)
            assert await total(one) == 211
            four = await made.join(2)  # a process may get the number of one that has ended
            four.statistics = did(1000)
            assert await total(one) == await total(four) == 1211

    run(main)


def test_a_link_that_is_open_at_the_end_of_the_event_loop_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        crew = Crew(ProbeProcess(1), make_logger(Settings(), io.StringIO()), lambda pid: None)
        server = await asyncio.start_unix_server(crew.accept, str(tmp_path / "link"))
        link = await Link.connect(tmp_path / "link", Toy(Disk({}), {}).answer)
        await link.ask("hello", 1, {"a": ("1", 1)})
        link.close()
        server.close()  # and nobody reads any more that the link has ended

    run(main)
    assert caplog.records == []


def test_a_worker_that_dies_while_it_joins_is_not_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with parent(tmp_path, a="1") as made:
            one = await made.join(1)
            made.disk.versions["a"] = "2"
            one.gate = ("prepare", asyncio.Event())
            joining = asyncio.ensure_future(made.join(2))
            await one.until_asked("prepare")
            made.workers[-1].die()
            await asyncio.gather(joining, return_exceptions=True)
            one.gate[1].set()
            while one.serves != {"a": ("2", 2)}:
                await asyncio.sleep(0)
            assert (await made.join(3)).serves == one.serves
            assert len(made.crew) == 2

    run(main)
