"""The order of a stream's answers: that of its requests, however they finish, and never too many under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.oip.grpc_stream import in_order
from tests.live import HANG_S


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        await asyncio.sleep(0)


@given(turns=st.lists(st.integers(0, 5), max_size=12), most=st.integers(1, 4), pauses=st.integers(0, 3))
def test_answers_come_in_order_and_no_more_than_most_are_under_way(turns: list[int], most: int, pauses: int) -> None:
    open_, widest = set[int](), 0

    async def answer(number: int) -> int:
        nonlocal widest
        open_.add(number)
        widest = max(widest, len(open_))
        for _ in range(turns[number]):
            await asyncio.sleep(0)
        return number

    async def main() -> list[int]:
        answers = []
        async for answered in in_order(numbers(len(turns)), answer, most):
            answers.append(answered)
            for _ in range(pauses):
                await asyncio.sleep(0)
            open_.remove(answered)  # taken
        return answers

    assert asyncio.run(asyncio.wait_for(main(), HANG_S)) == list(range(len(turns)))
    assert widest <= most


def test_the_next_requests_are_under_way_while_the_first_is_slow() -> None:
    async def main() -> list[int]:
        third = asyncio.Event()

        async def answer(number: int) -> int:
            if number == 2:
                third.set()
            await third.wait()
            return number

        return [answered async for answered in in_order(numbers(4), answer, 3)]

    assert asyncio.run(asyncio.wait_for(main(), HANG_S)) == [0, 1, 2, 3]


def test_who_stops_early_cancels_what_is_under_way() -> None:
    cancelled = []

    async def answer(number: int) -> int:
        if number:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(number)
                raise
        return number

    async def main() -> None:
        async with aclosing(in_order(numbers(9), answer, 3)) as answers:
            async for answered in answers:
                assert answered == 0
                for _ in range(20):
                    await asyncio.sleep(0)  # the others begin
                break

    asyncio.run(asyncio.wait_for(main(), HANG_S))
    assert sorted(cancelled) == [1, 2]


def test_what_reading_raises_is_raised_behind_the_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 7
        raise ValueError("no more")

    async def answer(number: int) -> int:
        return number

    answers: list[int] = []

    async def main() -> None:
        async for each in in_order(broken(), answer, 2):
            answers.append(each)  # noqa: PERF401, the error comes behind the first

    with pytest.raises(ValueError, match="no more"):
        asyncio.run(main())
    assert answers == [7]
