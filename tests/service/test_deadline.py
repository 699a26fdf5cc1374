"""The deadline: kept for all that are open, in whatever order they began, by one timer."""

import asyncio
import time

import pytest

from service.deadline import Deadline
from service.errors import DeadlineExceeded
from tests.live import HANG_S


def test_what_comes_in_time_is_given() -> None:
    async def main() -> None:
        deadline, answer = Deadline(HANG_S), asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(answer.set_result, 7)
        assert await deadline.wait(answer, time.perf_counter()) == 7
        assert not deadline._open

    asyncio.run(main())


def test_who_began_first_is_refused_first_though_it_waits_last() -> None:
    async def main() -> None:
        deadline, loop, now = Deadline(HANG_S), asyncio.get_running_loop(), time.perf_counter()
        later, earlier = loop.create_future(), loop.create_future()
        waits = asyncio.ensure_future(deadline.wait(later, now))
        await asyncio.sleep(0)  # its timer is set, for much later
        with pytest.raises(DeadlineExceeded, match="no answer within 30000 ms; the work was dropped"):
            await asyncio.wait_for(deadline.wait(earlier, now - HANG_S + 0.02), HANG_S / 2)
        assert not later.done()  # and the timer goes on for the others
        assert deadline._due == pytest.approx(now + HANG_S)
        later.set_result(7)
        assert await waits == 7

    asyncio.run(main())


def test_a_late_answer_is_none_though_no_timer_had_its_turn() -> None:
    async def main() -> None:
        deadline, answer = Deadline(HANG_S), asyncio.get_running_loop().create_future()
        answer.set_result(7)
        with pytest.raises(DeadlineExceeded):
            await deadline.wait(answer, time.perf_counter() - HANG_S - 1)
        deadline.check(time.perf_counter())
        with pytest.raises(DeadlineExceeded):
            deadline.check(time.perf_counter() - HANG_S - 1)

    asyncio.run(main())


def test_a_caller_that_is_cancelled_is_forgotten() -> None:
    async def main() -> None:
        deadline, answer = Deadline(HANG_S), asyncio.get_running_loop().create_future()
        waits = asyncio.ensure_future(deadline.wait(answer, time.perf_counter()))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert not deadline._open and answer.cancelled()

    asyncio.run(main())
