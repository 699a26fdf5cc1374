"""The ledger: entries in order, several at a time, none for long, and all of them in the end."""

import asyncio
from functools import partial

import pytest

from service.ledger import MOST, Ledger
from tests.live import HANG_S


def test_entries_wait_for_each_other_and_keep_their_order() -> None:
    called: list[int] = []

    async def main() -> None:
        ledger = Ledger()
        for number in range(MOST - 1):
            ledger.note(partial(called.append, number))
        await asyncio.sleep(0)
        assert called == []
        ledger.note(partial(called.append, MOST - 1))
        assert called == []  # not before the answer that it belongs to
        await asyncio.sleep(0)
        assert called == list(range(MOST))

    asyncio.run(main())


def test_none_waits_for_long_and_a_flush_leaves_none() -> None:
    called: list[int] = []

    async def main() -> None:
        ledger, written = Ledger(), asyncio.Event()
        ledger.note(partial(called.append, 0))
        ledger.note(written.set)
        await written.wait()
        ledger.note(partial(called.append, 1))
        ledger.flush()
        assert called == [0, 1]
        ledger.flush()
        assert called == [0, 1]

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_a_ledger_of_one_keeps_nothing_and_needs_no_loop() -> None:
    called: list[int] = []
    Ledger(1).note(partial(called.append, 0))
    assert called == [0]


def test_an_entry_that_fails_takes_no_other_with_it() -> None:
    called: list[int] = []

    async def main() -> None:
        ledger = Ledger()
        for entry in (partial(called.append, 0), partial(called.remove, 7), partial(called.append, 2)):
            ledger.note(entry)
        with pytest.raises(ValueError, match="not in list"):
            ledger.flush()
        ledger.flush()

    asyncio.run(main())
    assert called == [0, 2]
