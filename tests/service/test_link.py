"""The link between processes: answers find their questions, errors keep their kind, and an end fails what is asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import InvalidValue
from service.errors import Unavailable
from service.link import Handle, Link
from tests.live import HANG_S


@asynccontextmanager
async def linked(path: Path, near: Handle, far: Handle) -> AsyncIterator[tuple[Link, Link]]:
    """Both ends of a link; `near` answers what the far end asks."""
    there: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.set_result(Link(reader, writer, far))

    server = await asyncio.start_unix_server(accept, str(path / "link"))
    here = await Link.connect(path / "link", near)
    try:
        yield here, await there
    finally:
        here.close()
        (await there).close()
        server.close()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, which must end."""

    async def bounded() -> None:
        await asyncio.wait_for(main(), HANG_S)

    asyncio.run(bounded())


async def nothing(what: str, *arguments: Any) -> Any:
    """Answers None to everything."""


def test_answers_find_their_questions_whatever_order_they_come_in(tmp_path: Path) -> None:
    gates = {number: asyncio.Event() for number in range(5)}

    async def late(what: str, number: int) -> tuple[str, int]:
        await gates[number].wait()
        return what, number

    async def main() -> None:
        async with linked(tmp_path, nothing, late) as (here, _):
            asked = [asyncio.ensure_future(here.ask("number", number)) for number in gates]
            for gate in reversed(gates.values()):
                await asyncio.sleep(0)
                gate.set()
            assert await asyncio.gather(*asked) == [("number", number) for number in gates]

    run(main)


def test_both_ends_ask_and_large_things_arrive_whole(tmp_path: Path) -> None:
    async def double(what: str, data: bytes) -> bytes:
        return data + data

    async def main() -> None:
        async with linked(tmp_path, double, double) as (here, there):
            data = bytes(range(256)) * 4096
            answers: list[bytes] = await asyncio.gather(here.ask("double", data), there.ask("double", b"x"))
            assert answers == [data + data, b"xx"]

    run(main)


def test_errors_keep_their_kind(tmp_path: Path) -> None:
    async def fail(what: str) -> None:
        raise InvalidValue("eps: too large") if what == "ours" else KeyError("secret")

    async def main() -> None:
        async with linked(tmp_path, nothing, fail) as (here, _):
            with pytest.raises(InvalidValue, match="eps: too large"):
                await here.ask("ours")
            with pytest.raises(RuntimeError, match=r"theirs failed:(.|\n)*KeyError: 'secret'"):
                await here.ask("theirs")

    run(main)


def test_a_question_that_nobody_wants_answered_is_cancelled_on_the_other_side(tmp_path: Path) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(what: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def main() -> None:
        async with linked(tmp_path, nothing, hang) as (here, _):
            asking = asyncio.ensure_future(here.ask("hang"))
            await begun.wait()
            asking.cancel()
            await cancelled.wait()

    run(main)


def test_an_end_fails_what_is_asked_and_what_would_be(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def hang(what: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def main() -> None:
        async with linked(tmp_path, nothing, hang) as (here, there):
            asking = asyncio.ensure_future(here.ask("hang"))
            await begun.wait()
            there.close()
            with pytest.raises(Unavailable):
                await asking
            await here.closed()
            with pytest.raises(Unavailable):
                await here.ask("hang")

    run(main)


def test_whoever_waits_for_the_end_may_give_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with linked(tmp_path, nothing, nothing) as (here, _):
            waiting = asyncio.ensure_future(here.closed())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(main)
