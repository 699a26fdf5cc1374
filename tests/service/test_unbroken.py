"""Work that nobody waits for any more comes to its end all the same, and quietly."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from service.unbroken import unbroken


async def left_alone(work: Coroutine[Any, Any, None], begun: asyncio.Event) -> None:
    """Wait for `work` until it has begun, and then no more."""
    waiting = asyncio.ensure_future(unbroken(work))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_whoever_waits_gets_the_result_or_the_error() -> None:
    async def seven() -> int:
        return 7

    async def fail() -> None:
        raise ValueError("no")

    assert asyncio.run(unbroken(seven())) == 7
    with pytest.raises(ValueError, match="no"):
        asyncio.run(unbroken(fail()))


def test_work_goes_on_when_whoever_waits_leaves() -> None:
    async def main() -> None:
        begun, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            await go.wait()
            done.set()

        await left_alone(work(), begun)
        go.set()
        await asyncio.wait_for(done.wait(), 30)

    asyncio.run(main())


def test_an_error_that_nobody_waits_for_does_not_reach_the_loops_log() -> None:
    async def main() -> None:
        loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        logged: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: logged.append(context))

        async def fail() -> None:
            begun.set()
            await go.wait()
            raise ValueError("no")

        await left_alone(fail(), begun)
        go.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert logged == []

    asyncio.run(main())
