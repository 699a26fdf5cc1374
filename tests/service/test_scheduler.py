"""The scheduler on one core: queue, deadline, callers that leave, audits."""

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
import pytest
from prometheus_client import CollectorRegistry

from runtime.member import Answer, Images
from service.errors import QueueFull
from service.metrics import Metrics
from service.scheduler import Scheduler
from service.settings import Settings
from tests.live import HANG_S, Live, Start, problem_of
from tests.toy_catalog import DOT, NO, YES, Gate, full, low, toy_catalog
from tests.toys import FP32, W2A4, Array, ToyMember

IMAGE = np.zeros((1, 1, 1, 1), np.float32)


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settings.usable_cores", lambda: 1)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A member that keeps the core until it is opened; opened in the end whatever happens."""
    gate = Gate("a", W2A4, YES)
    yield gate
    gate.opened.set()


def test_a_full_queue_is_429_and_the_waiting_are_answered(start: Start, gate: Gate) -> None:
    server = start(toy_catalog(gate, full(YES)), queue=1)
    with ThreadPoolExecutor(3) as callers:
        running = callers.submit(server.predict, DOT)
        assert gate.entered.wait(HANG_S)
        others = [callers.submit(server.predict, DOT) for _ in range(2)]  # one waits, and the other has no place
        refused = wait(others, HANG_S, FIRST_COMPLETED).done.pop()
        assert refused.result().status_code == 429
        assert problem_of(refused.result())["code"] == "queue_full"
        assert refused.result().headers["retry-after"] == "1"
        assert server.metric("empir_queue_depth") == 1
        gate.opened.set()
        answers = [each.result() for each in (running, *others) if each is not refused]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert server.metric("empir_queue_depth") == 0
    assert server.metric("empir_requests_rejected_total", reason="queue_full") == 1
    assert server.predict(DOT).status_code == 200


def test_slow_senders_take_no_place_from_others(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)), queue=1)
    head = (
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\nX-Request-ID: left\r\n\r\n"
    )
    with server.connect() as one, server.connect() as two:
        for connection in (one, two):
            connection.sendall(head)
            assert b"100 Continue" in connection.recv(100)  # the body is asked for
        assert server.predict(DOT).status_code == 200
    next(None for _ in range(1000) if len(server.logged("left")) == 2)
    assert server.predict(DOT).status_code == 200


def test_a_deadline_is_504_and_the_server_answers_afterwards(start: Start, gate: Gate) -> None:
    server = start(toy_catalog(gate, full(YES)), deadline_ms=300)
    response = server.predict(DOT)
    assert (response.status_code, problem_of(response)["code"]) == (504, "deadline")
    assert "no answer within 300 ms" in problem_of(response)["detail"]
    gate.opened.set()
    assert server.predict(DOT).status_code == 200
    assert server.metric("empir_requests_rejected_total", reason="deadline") == 1


def test_a_caller_that_leaves_hurts_nobody(gate: Gate) -> None:
    async def main() -> None:
        catalog = toy_catalog(gate, full(YES))
        scheduler = Scheduler(Settings(queue=1), Metrics(CollectorRegistry()), random.Random(0))

        async def caller() -> int:
            placed = await scheduler.predict(catalog.get(None), IMAGE, "full")
            return int(placed.judged.prediction.verdict[placed.first])

        running = asyncio.create_task(caller())
        assert await asyncio.to_thread(gate.entered.wait, HANG_S)
        await leave(running)
        waiting = asyncio.create_task(caller())
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="1 predictions are waiting already"):
            await caller()  # the core is busy until its thread is done, not until its caller leaves
        await leave(waiting)
        next_in_line = asyncio.create_task(caller())
        await asyncio.sleep(0)
        gate.opened.set()
        assert await next_in_line == 1
        assert await caller() == 1
        scheduler.close()
        catalog.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


@dataclass
class Located(ToyMember):
    """A ToyMember that notes on which threads it runs."""

    threads: list[threading.Thread] = field(default_factory=list)

    def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
        self.threads.append(threading.current_thread())
        return super().answer(images, options)


def test_a_quick_ensemble_runs_on_the_event_loop_while_nothing_else_is_under_way(gate: Gate) -> None:
    async def main() -> None:
        member = Located("a", W2A4, YES)
        quick, slow = toy_catalog(member, full(YES)), toy_catalog(gate, full(YES))
        quick.get(None).ensemble.warm_up(IMAGE)
        scheduler = Scheduler(Settings(queue=0), Metrics(CollectorRegistry()), random.Random(0))
        member.threads.clear()
        await scheduler.predict(quick.get(None), IMAGE, "full")
        assert member.threads == [threading.current_thread()]
        running = asyncio.create_task(scheduler.predict(slow.get(None), IMAGE, "full"))
        assert await asyncio.to_thread(gate.entered.wait, HANG_S)
        with pytest.raises(QueueFull):
            await scheduler.predict(quick.get(None), IMAGE, "full")
        gate.opened.set()
        await running
        await scheduler.predict(quick.get(None), IMAGE, "full")
        assert member.threads == [threading.current_thread()] * 2
        for each in (scheduler, quick, slow):
            each.close()

    asyncio.run(asyncio.wait_for(main(), HANG_S))


async def leave(task: asyncio.Task[int]) -> None:
    """Cancel a task and see it end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


def audits(server: Live) -> tuple[float, float]:
    """How many audits found agreement and dissent. The prediction waits for the only core until they are done."""
    assert server.predict(DOT, mode="full").status_code == 200
    agreement, dissent = (
        server.metric("empir_audit_total", bundle="toy", result=result) for result in ("agreement", "dissent")
    )
    return agreement, dissent


@pytest.mark.parametrize(("skipped", "counted"), [(YES, (1, 0)), (NO, (0, 1))], ids=["agreement", "dissent"])
def test_an_audit_asks_the_skipped_members_afterwards(
    start: Start, skipped: Array, counted: tuple[float, float]
) -> None:
    late = full(skipped)
    server = start(toy_catalog(low(YES), low(YES, "b"), late), audit_rate=1)
    assert audits(server) == (0, 0)  # full asks everybody: there is nothing to audit
    asked = len(late.asked)
    answer = server.predict(DOT, mode="quorum").json()
    assert (answer["label"], answer["members"][2]["status"]) == ("yes", "skipped")
    assert audits(server) == counted
    assert len(late.asked) == asked + 2  # by the audit, and by the prediction with full after it


def test_an_audit_of_a_member_that_fails_finds_nothing(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(YES, "b"), full(NO, failure="error")), audit_rate=1)
    assert server.predict(DOT, mode="quorum").json()["label"] == "yes"
    assert audits(server) == (0, 0)


def test_a_quorum_that_asked_everybody_is_not_audited(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(NO, "b"), full(NO)), audit_rate=1)
    assert server.predict(DOT, mode="quorum").json()["label"] == "no"
    assert audits(server) == (0, 0)


def test_without_a_rate_nothing_is_audited(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(YES, "b"), full(NO)), audit_rate=0)
    assert server.predict(DOT, mode="quorum").json()["label"] == "yes"
    assert audits(server) == (0, 0)


def test_an_audit_does_not_delay_the_answer_that_it_audits(start: Start) -> None:
    gate = Gate("c", FP32, YES)
    server = start(toy_catalog(low(YES), low(YES, "b"), gate), audit_rate=1)
    assert server.predict(DOT, mode="quorum").json()["label"] == "yes"
    assert gate.entered.wait(HANG_S)  # the audit has begun, and has not ended
    gate.opened.set()
    assert audits(server) == (1, 0)
