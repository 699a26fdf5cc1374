"""A stream's requests: answered side by side, their answers in the order in which the requests came."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def in_order(
    requests: AsyncIterator[Request], answer: Callable[[Request], Coroutine[Any, Any, Answer]], most: int
) -> AsyncGenerator[Answer, None]:
    """The answers to `requests`, in their order, which is what Triton promises for models with one answer a request.

    While `most` requests are not answered, or their answers not taken, no further one is read. Raises what reading or
    answering raises; whoever stops early cancels what is under way.
    """
    tasks: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    under_way: set[asyncio.Task[Any]] = set()
    room = asyncio.Semaphore(most)

    def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return task

    async def read() -> None:
        try:
            await room.acquire()
            async for request in requests:
                tasks.put_nowait(begin(answer(request)))
                await room.acquire()
        finally:
            tasks.put_nowait(None)

    reading = begin(read())
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            room.release()
        await reading
    finally:
        left = list(under_way)
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
