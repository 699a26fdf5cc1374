"""What a model has done, as Triton's statistics count it: requests as they are answered, executions as they are run."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.ledger import Ledger
from service.metrics import Metrics
from service.oip.model import find_model
from service.oip.statistics import Statistics
from service.scheduler import Placed, Scheduler
from service.settings import Settings
from tests.live import HANG_S, Live, Start
from tests.service.oip.bodies import ask, document
from tests.toy_catalog import NO, YES, Gate, full, low, toy_catalog
from tests.toys import W2A4, Array, numbered


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that requests make a batch while another runs."""
    monkeypatch.setattr("service.settings.usable_cores", lambda: 1)


def same(logits: Array, count: int = 8) -> Array:
    """The same logits for each of so many numbered images."""
    return np.repeat(logits, count, axis=0)


class Crowd:
    """Requests of a model whose first member answers once it is let."""

    def __init__(self, **limits: Any) -> None:
        self.gate = Gate("a", W2A4, same(YES))
        self.catalog = toy_catalog(self.gate, full(same(YES)))
        self.scheduler = Scheduler(Settings(**limits), Metrics(CollectorRegistry()), random.Random(0))
        self.statistics = Statistics()

    def ask(self, count: int, of_the_protocol: bool = True) -> asyncio.Task[Placed]:
        """A request for so many images."""
        counted = self.statistics.counting(find_model(self.catalog, "toy"), Ledger(1))
        ran = counted.executed if of_the_protocol else None
        return asyncio.ensure_future(self.scheduler.predict(self.catalog.get("toy"), numbered(count), "full", ran=ran))

    async def until_running(self) -> None:
        assert await asyncio.to_thread(self.gate.entered.wait, HANG_S)
        self.gate.entered.clear()

    async def executions(self, count: int) -> dict[int, int]:
        """How often each number of images was run together, once there are so many executions."""
        done = self.statistics.of("toy", "1")
        while done.executions < count:
            await asyncio.sleep(0.001)
        return {size: batch["compute_infer"].count for size, batch in done.batches.items()}


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), HANG_S)

    asyncio.run(bounded())


def test_an_execution_is_counted_once_by_its_size_whoever_leads_it() -> None:
    async def main() -> None:
        crowd = Crowd()
        asked = [crowd.ask(1)]
        await crowd.until_running()
        asked += [crowd.ask(2, of_the_protocol=False), crowd.ask(1), crowd.ask(3)]
        await asyncio.sleep(0)
        crowd.gate.opened.set()
        placed = await asyncio.gather(*asked)
        assert [each.first for each in placed] == [0, 0, 2, 3]  # the first and a batch
        assert await crowd.executions(2) == {1: 1, 6: 1}
        await crowd.ask(1, of_the_protocol=False)
        assert await crowd.executions(2) == {1: 1, 6: 1}
        crowd.scheduler.close()

    run(main)


def test_an_execution_is_counted_though_its_callers_leave() -> None:
    async def main() -> None:
        crowd = Crowd()
        alone = crowd.ask(3)
        await crowd.until_running()
        alone.cancel()
        crowd.gate.opened.set()
        assert await crowd.executions(1) == {3: 1}
        crowd.scheduler.close()

    run(main)


def statistics_of(server: Live) -> Any:
    """The document of the model `toy`."""
    return server.http.get("/v2/models/toy/stats").json()["model_stats"][0]


def test_requests_that_run_together_are_one_execution_of_all_their_images(start: Start) -> None:
    gate = Gate("a", W2A4, same(YES))
    server = start(toy_catalog(gate, full(same(YES))))
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, server, document(numbered(1)))]
        assert gate.entered.wait(HANG_S)
        asked += [pool.submit(ask, server, document(numbered(count))) for count in (1, 2)]
        while server.metric("empir_queue_depth") < 2:
            pass
        gate.opened.set()
        assert [each.result(HANG_S).status_code for each in asked] == [200, 200, 200]
    server.settle()
    done = statistics_of(server)
    assert (done["inference_count"], done["execution_count"]) == (4, 2)
    tallies = {name: tally["count"] for name, tally in done["inference_stats"].items()}
    stages = {"queue": 3, "compute_input": 3, "compute_infer": 3, "compute_output": 3}
    assert tallies == {"success": 3, "fail": 0, **stages, "cache_hit": 0, "cache_miss": 0}
    batches = {batch["batch_size"]: batch for batch in done["batch_stats"]}
    assert batches.keys() == {1, 3}
    for batch in batches.values():
        assert [batch[name]["count"] for name in ("compute_input", "compute_infer", "compute_output")] == [1, 1, 1]
        assert batch["compute_infer"]["ns"] > 0
    assert (
        sum(batch["compute_input"]["ns"] for batch in batches.values())
        == done["inference_stats"]["compute_input"]["ns"]
    )


def test_a_request_that_fails_was_executed_all_the_same(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(NO, "b"), full(NO, failure="error")))
    assert ask(server, document(numbered(1))).status_code == 503
    done = statistics_of(server)
    assert (done["inference_count"], done["execution_count"], done["inference_stats"]["fail"]["count"]) == (0, 1, 1)
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in done["batch_stats"]] == [(1, 1)]
