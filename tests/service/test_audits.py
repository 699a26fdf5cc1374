"""Audits: in order, on idle cores, and no more waiting than there is room for; what is dropped is counted."""

import asyncio
import random
from collections.abc import Callable, Coroutine

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.audits import MOST_WAITING, Audits, Work
from service.catalog import Served
from service.metrics import Metrics
from tests.live import HANG_S
from tests.toy_catalog import toy_catalog
from tests.toys import FP32, W2A4, Array, ToyMember, numbered

IMAGES = numbered(200)
Counted = dict[str, float]


class World:
    """Audits of a bundle whose full-precision member dissents on images of odd numbers; idle when it is told to be."""

    def __init__(self, rate: float = 1.0) -> None:
        votes: Array = np.tile(np.array([[0, 3]], np.float32), (len(IMAGES), 1))
        self.late = ToyMember("c", FP32, np.array([[0, 3], [3, 0]] * (len(IMAGES) // 2), np.float32))
        self.catalog = toy_catalog(ToyMember("a", W2A4, votes), ToyMember("b", W2A4, votes), self.late)
        self.served: Served = self.catalog.get(None)
        self.registry = CollectorRegistry()
        self.idle, self.fails = asyncio.Event(), False
        self.audits = Audits(rate, Metrics(self.registry), random.Random(0), self.on_idle_core)

    async def on_idle_core(self, work: Work) -> list[bool | None]:
        await self.idle.wait()
        if self.fails:
            self.fails = False
            raise ZeroDivisionError
        return work()

    def answer(self, numbers: list[int]) -> None:
        """Predict these images with a quorum, and have them considered."""
        images = IMAGES[numbers]
        self.audits.consider(self.served, images, self.served.predict(images, "quorum").prediction)

    async def done(self) -> Counted:
        """What was counted, once nothing waits."""
        self.idle.set()
        while self.audits._task is not None and not self.audits._task.done():
            await asyncio.sleep(0)
        return {
            result: self.registry.get_sample_value("empir_audit_total", {"bundle": "toy", "result": result}) or 0
            for result in ("agreement", "dissent", "dropped")
        }


def run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), HANG_S))


@pytest.mark.parametrize("batch", [1, 3, 16, 200])
def test_the_oldest_wait_and_the_rest_is_counted_as_dropped(batch: int) -> None:
    async def main() -> None:
        world = World()
        for first in range(0, 200, batch):
            world.answer(list(range(first, min(200, first + batch))))
        assert world.late.asked == []
        assert await world.done() == {"agreement": 32, "dissent": 32, "dropped": 136}
        assert [number for numbers in world.late.asked for number in numbers] == list(range(MOST_WAITING))
        world.answer([3, 4])  # there is room again
        assert await world.done() == {"agreement": 33, "dissent": 33, "dropped": 136}

    run(main)


def test_a_share_of_them_is_chosen() -> None:
    async def main() -> None:
        world = World(rate=0.25)
        world.idle.set()
        for first in range(0, 200, 8):
            world.answer(list(range(first, first + 8)))
            await world.done()
        counted = await world.done()
        assert 30 < counted["agreement"] + counted["dissent"] < 70
        assert counted["dropped"] == 0

    run(main)


def test_a_fault_of_one_audit_does_not_end_the_others() -> None:
    async def main() -> None:
        world = World()
        world.fails = True
        world.answer([0])
        world.answer([1])
        await world.done()
        assert world.audits._task is not None and isinstance(world.audits._task.exception(), ZeroDivisionError)
        world.answer([2])
        assert await world.done() == {"agreement": 1, "dissent": 1, "dropped": 0}

    run(main)


def test_what_waits_is_given_up_at_the_end() -> None:
    async def main() -> None:
        world = World()
        world.answer([0])
        await asyncio.sleep(0)
        world.audits.close()
        assert await world.done() == {"agreement": 0, "dissent": 0, "dropped": 0}

    run(main)
