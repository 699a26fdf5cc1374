"""The probe process by itself: one job after the other, whatever becomes of callers and of the process."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from robustness.parameters import AttackParameters
from runtime.errors import BundleError, InvalidValue
from runtime.member import Images
from service.errors import QueueFull, Unavailable
from service.probe_process import Job, ProbeProcess
from tests.live import HANG_S
from tests.probe_jobs import Announced, exists, stopped
from tests.toy_bundle import ToyBundle

NOTHING = cast(Images, None)
"""An image that no handler would let through."""


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """The event loop that the process's callers share."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared(loop: asyncio.Runner) -> Iterator[ProbeProcess]:
    """A process with one place to wait."""
    probes = ProbeProcess(places=1)
    yield probes
    probes.close()


@pytest.fixture
def probes(shared: ProbeProcess, loop: asyncio.Runner) -> ProbeProcess:
    """The shared process, running."""
    loop.run(shared.start())
    return shared


def job(toy: ToyBundle, eps: float = 0.1) -> Job:
    """A short attack, which can be told by its eps."""
    return Job(toy.folder, toy.manifest.version, toy.images[:1], AttackParameters(eps=eps, steps=1, budget_ms=1))


def announced(job: Job) -> Announced:
    """The job, which says when it is sent."""
    return Announced(job.folder, job.version, job.image, job.parameters, threading.Event())


async def sent(job: Announced) -> None:
    """Return when the job is sent."""
    assert await asyncio.to_thread(job.sent.wait, HANG_S)


def test_there_is_no_process_before_it_is_needed_and_none_after_the_end(loop: asyncio.Runner) -> None:
    probes = ProbeProcess(places=0)
    assert probes.pid is None
    loop.run(probes.start())
    pid = probes.pid
    assert pid is not None
    loop.run(probes.start())
    assert probes.pid == pid
    probes.close()
    assert probes.pid is None
    assert not exists(pid)
    probes.close()


def test_jobs_run_in_one_other_process_without_torch(
    probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle
) -> None:
    pid = probes.pid
    for eps in (0.1, 0.2):
        assert loop.run(probes.run(job(toy, eps))).attack.eps == eps
    assert pid is not None
    assert probes.pid == pid != os.getpid()
    theirs, ours = (Path(f"/proc/{process}/maps").read_text() for process in (pid, "self"))
    assert "onnxruntime" in theirs and "libtorch" not in theirs
    assert "libtorch" in ours  # so it would be seen


def test_ctrl_c_is_the_servers_to_handle(probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle) -> None:
    pid = probes.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert loop.run(probes.run(job(toy))).attack.eps == 0.1
    assert probes.pid == pid


def test_what_a_job_raises_reaches_its_caller_and_no_other(
    probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle
) -> None:
    with pytest.raises(InvalidValue, match="steps: expected 1 to 1000"):
        loop.run(probes.run(Job(toy.folder, toy.manifest.version, toy.images[:1], AttackParameters(steps=0))))
    with pytest.raises(BundleError, match=r"nowhere/bundle\.json"):
        loop.run(probes.run(Job(Path("nowhere"), "1", toy.images[:1], AttackParameters())))
    assert loop.run(probes.run(job(toy))).attack.eps == 0.1


def test_a_fault_is_no_refusal_and_the_process_goes_on(
    probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle
) -> None:
    pid = probes.pid
    with pytest.raises(RuntimeError, match=r"a probe failed:\nTraceback \(most recent call last\):"):
        loop.run(probes.run(Job(toy.folder, toy.manifest.version, NOTHING, AttackParameters())))
    assert loop.run(probes.run(job(toy))).attack.eps == 0.1
    assert probes.pid == pid


def test_a_bundle_that_was_replaced_on_disk_is_not_probed_for_the_one_that_is_served(
    probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle
) -> None:
    with pytest.raises(Unavailable, match=r"version 0 of it is served, 1 is in .* now; load it"):
        loop.run(probes.run(Job(toy.folder, "0", toy.images[:1], AttackParameters())))


def test_after_the_end_no_process_is_started_again(loop: asyncio.Runner, toy: ToyBundle) -> None:
    probes = ProbeProcess(places=0)
    probes.close()
    with pytest.raises(Unavailable, match="going down"):
        loop.run(probes.run(job(toy)))
    assert probes.pid is None


def test_a_caller_that_leaves_does_not_leave_its_answer_to_the_next(
    probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle
) -> None:
    async def main() -> None:
        first, second = announced(job(toy, 0.1)), announced(job(toy, 0.2))
        with stopped(probes) as pid:
            leaving = asyncio.create_task(probes.run(first))
            await sent(first)
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
        assert not exists(pid)  # nobody wants the rest of its work
        assert (await probes.run(job(toy, 0.3))).attack.eps == 0.3
        with stopped(probes):
            running = asyncio.create_task(probes.run(second))
            await sent(second)
            also_leaving = asyncio.create_task(probes.run(job(toy, 0.4)))
            await asyncio.sleep(0)
            also_leaving.cancel()  # while it waits
            with suppress(asyncio.CancelledError):
                await also_leaving
            waiting = asyncio.create_task(probes.run(job(toy, 0.5)))
            await asyncio.sleep(0)
            with pytest.raises(QueueFull, match="1 probes are waiting already"):
                await probes.run(job(toy, 0.6))
        assert [(await each).attack.eps for each in (running, waiting)] == [0.2, 0.5]

    loop.run(main())


def test_a_process_that_is_killed_is_replaced(probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle) -> None:
    async def main() -> None:
        before = probes.pid
        first = announced(job(toy))
        with stopped(probes) as pid:
            killed = asyncio.create_task(probes.run(first))
            await sent(first)
            waiting = asyncio.create_task(probes.run(job(toy, 0.2)))
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(Unavailable, match="ended and is being replaced"):
                await killed
        assert (await waiting).attack.eps == 0.2
        assert probes.pid not in (None, before)

    loop.run(main())


def test_a_process_that_hangs_is_replaced(
    probes: ProbeProcess, loop: asyncio.Runner, toy: ToyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stopped(probes) as pid, monkeypatch.context() as patch:
        patch.setattr("service.probe_process.GRACE_S", 0.01)
        with pytest.raises(Unavailable, match="hung and is being replaced"):
            loop.run(probes.run(job(toy)))
    assert not exists(pid)
    assert loop.run(probes.run(job(toy, 0.2))).attack.eps == 0.2


def test_a_process_that_does_not_start_in_time_is_no_answer_to_the_next_job(
    loop: asyncio.Runner, toy: ToyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = ProbeProcess(places=0)
    with monkeypatch.context() as patch:
        patch.setattr("service.probe_process.START_S", 0)
        with pytest.raises(Unavailable, match="did not start"):
            loop.run(probes.run(job(toy)))
    assert probes.pid is None
    assert loop.run(probes.run(job(toy, 0.2))).attack.eps == 0.2
    probes.close()
