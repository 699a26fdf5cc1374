"""What several workers agree on: which bundles they serve, in which version, and what they have done together."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import structlog

from runtime.errors import EmpirError
from service.errors import Conflict, Unavailable
from service.link import Link
from service.oip.statistics import Statistics
from service.oip.totals import Totals
from service.probe_process import ProbeProcess
from service.unbroken import unbroken
from service.worker import Generations


class Crew:
    """The workers that have joined. Lives on the parent's event loop."""

    def __init__(
        self, probes: ProbeProcess, log: structlog.typing.FilteringBoundLogger, dismiss: Callable[[int], None]
    ) -> None:
        """`dismiss` ends the process of a worker that may not join, which does not serve yet."""
        self._probes, self._log, self._dismiss = probes, log, dismiss
        self._links: dict[int, Link] = {}
        self._generations: Generations = {}
        self._totals = Totals()
        self._turn = asyncio.Lock()
        self._joined = asyncio.Condition()

    @property
    def is_formed(self) -> bool:
        """Whether there has ever been a worker."""
        return bool(self._generations)

    def __len__(self) -> int:
        """How many workers serve."""
        return len(self._links)

    async def until_joined(self, count: int) -> None:
        """Return when so many workers serve."""
        async with self._joined:
            await self._joined.wait_for(lambda: len(self) >= count)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker's link, from its start to its end."""
        pid = 0

        async def answer(what: str, *arguments: Any) -> Any:
            nonlocal pid
            match what, *arguments:
                case "hello", number, generations:
                    pid = number
                    return await unbroken(self._welcome(link, pid, generations))
                case "tally", statistics:
                    return self._totals.put(pid, statistics)
            return await self._answer(what, *arguments)

        link = Link(reader, writer, answer)
        with suppress(asyncio.CancelledError):  # at the end of the event loop, which would call that an error
            await link.closed()
        self._links.pop(pid, None)
        self._totals.leave(pid)

    async def _welcome(self, link: Link, pid: int, theirs: Generations) -> Generations:
        """A worker that has started: it serves what the others do, or it does not join. The first says what that is."""
        async with self._turn:
            if self._links:
                await self._agree(link, pid, theirs)
            else:
                self._begin(theirs)
            if link.is_open:  # it may have died meanwhile
                self._links[pid] = link
        async with self._joined:
            self._joined.notify_all()
        return self._generations

    async def _agree(self, link: Link, pid: int, theirs: Generations) -> None:
        """Have all workers load what a new one lacks or has in another version: files changed without a word.

        Where that fails, the new one is turned away, which costs a worker for a while; with it, the same request would
        be answered by one worker and refused by another, and to drop the bundle everywhere would cost the bundle.
        """
        for name, (version, _) in list(self._generations.items()):
            has = theirs.get(name, ("", 0))[0]
            if has == version:
                continue
            try:
                await self._change(name, [*self._links.values(), link])
            except EmpirError as error:
                about = {"bundle": name, "served": version, "has": has or None, "reason": str(error)}
                self._log.error("worker turned away", pid=pid, **about)
                self._dismiss(pid)
                raise

    def _begin(self, theirs: Generations) -> None:
        """What an only worker has is what is served from now on: nobody is left who could serve anything else."""
        before, self._generations = self._generations, theirs
        if not before:
            return
        lost = sorted(before.keys() - theirs.keys())
        if lost:
            self._log.error("the last worker that served them has ended, and their files are gone", bundles=lost)
        self._generations = {
            name: (theirs[name][0], number + (theirs[name][0] != version))
            for name, (version, number) in before.items()
            if name in theirs
        }

    async def _answer(self, what: str, *arguments: Any) -> Any:
        """What a worker asks. One that asks for a change may leave, or die, between two workers' commits."""
        match what, *arguments:
            case "probe", job:
                return await self._probes.run(job)
            case "load", name:
                return await unbroken(self._load(name))
            case "unload", name:
                return await unbroken(self._unload(name))
            case "statistics", *_:
                return await self._statistics()
        raise RuntimeError(f"a worker asks for {what}, which is nothing")

    async def _load(self, name: str) -> None:
        async with self._turn:
            await self._change(name, self._links.values())

    async def _change(self, name: str, links: Iterable[Link]) -> None:
        """Every worker prepares it, and then every worker serves it; or none does, and the first reason is raised."""
        links = list(links)
        prepared = await _ask_all(links, "prepare", name, tolerate=True)
        errors = [each for each in prepared if isinstance(each, BaseException)]
        if not errors and len({version for version, _ in prepared}) == 1:
            version, generation = prepared[0][0], max(number for _, number in prepared)
            await _ask_all(links, "commit", name, generation)
            self._generations[name] = (version, generation)
            return
        await _ask_all(links, "abort", name, tolerate=True)
        raise errors[0] if errors else Conflict(f"{name}: its files changed while they were read; load it again")

    async def _unload(self, name: str) -> None:
        async with self._turn:
            await _ask_all(list(self._links.values()), "drop", name)
            self._generations.pop(name, None)

    async def _statistics(self) -> Statistics:
        """What all workers have done, those that have ended too."""
        await asyncio.gather(*[self._ask_statistics(pid, link) for pid, link in self._links.items()])
        return self._totals.total()

    async def _ask_statistics(self, pid: int, link: Link) -> None:
        with suppress(Unavailable):  # it is ending; what it has said before counts
            self._totals.put(pid, await link.ask("statistics"))


async def _ask_all(links: list[Link], what: str, *arguments: Any, tolerate: bool = False) -> list[Any]:
    """Every worker's answer; one that dies meanwhile is left out, as its successor begins with what is decided."""
    answers = await asyncio.gather(*[link.ask(what, *arguments) for link in links], return_exceptions=True)
    there = [answer for answer in answers if not isinstance(answer, Unavailable)]
    if not there:
        raise Unavailable("no worker answers; try again")
    for answer in there:
        if isinstance(answer, BaseException) and not tolerate:
            raise answer
    return there
