"""Work that comes to its end once it has begun, even if whoever waits for it leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
_under_way: set[asyncio.Task[Any]] = set()
"""The event loop itself holds no task that nobody waits for."""


async def unbroken(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns or raises; cancelled, this ends at once, and the work goes on."""
    task = asyncio.ensure_future(work)
    _under_way.add(task)
    task.add_done_callback(_done)
    await asyncio.wait({task})
    return task.result()


def _done(task: asyncio.Task[Any]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # seen, though perhaps by nobody else: then it is no news for the log of the event loop
