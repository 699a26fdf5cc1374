"""The probe process: attacks run in a process of their own, so that predictions do not wait for them."""

import asyncio
import multiprocessing
import os
import signal
import traceback
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import EmpirError
from runtime.member import Images
from service.errors import QueueFull, Unavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from robustness.parameters import AttackParameters
    from robustness.probe_report import ProbeReport
    from robustness.victim import Victim
    from runtime.manifest import Manifest

NICENESS = 10
GRACE_S = 10.0
"""Time beyond its budget after which a probe's process is taken to hang, and is replaced."""
START_S = 30.0


@dataclass(frozen=True)
class Job:
    """One probe: the bundle's folder, version and generation, the image float32 [1, C, H, W] and the attack."""

    folder: Path
    version: str
    image: Images
    parameters: "AttackParameters"
    generation: int = field(default=1, kw_only=True)


class ProbeProcess:
    """One spawned process that probes one image at a time; a bounded number of callers waits."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting = 0
        self._closed = False
        self._turn = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    async def start(self) -> None:
        """Start the process unless it runs, and wait until it answers."""
        async with self._turn:
            await asyncio.to_thread(self._ensure)

    async def run(self, job: Job) -> "ProbeReport":
        """The report on one job.

        Raises QueueFull when too many wait, InvalidValue for a parameter, Unavailable if the process died or hung; the
        next job gets a new process.
        """
        if self._turn.locked() and self._waiting >= self._places:
            raise QueueFull(f"{self._waiting} probes are waiting already; try again shortly")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        task = asyncio.ensure_future(asyncio.to_thread(self._ask, job))
        task.add_done_callback(lambda _: self._turn.release())
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._end()  # nobody wants the rest; the next job gets a new process, and no answer of this one
            raise
        if isinstance(answer, EmpirError):
            if answer.code == EmpirError.code:  # not a refusal but a fault: the log gets its traceback, the client none
                raise RuntimeError(str(answer))
            raise answer
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing, for good."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()

    def _ensure(self) -> Connection:
        if self._pipe is not None and self.pid is not None:
            return self._pipe
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        if self._closed:
            raise Unavailable("the server is going down")
        process = context.Process(target=serve_probes, args=(theirs,), name="empir-probe", daemon=True)
        resource_tracker.ensure_running()  # start() would do so, and would unblock SIGINT in passing
        # The process inherits this thread's mask: Ctrl-C reaches the server alone, which then ends the process.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._process = process
        theirs.close()
        if not self._pipe.poll(START_S):
            self._end()  # or its greeting would be taken for the answer to a job
            raise Unavailable("the probe process did not start")
        self._pipe.recv()
        return self._pipe

    def _ask(self, job: Job) -> "ProbeReport | EmpirError":
        try:
            pipe = self._ensure()
            pipe.send(job)
            if pipe.poll(job.parameters.budget_ms / 1000 + GRACE_S):
                answer: ProbeReport | EmpirError = pipe.recv()
                return answer
            reason = "hung"
        except (OSError, EOFError):
            reason = "ended"
        if self._closed:
            return Unavailable("the server is going down")
        self._end()
        return Unavailable(f"the probe process {reason} and is being replaced; try again")


def serve_probes(pipe: Connection) -> None:
    """The process's life: answer jobs until the other side of the pipe is gone."""
    from robustness.probe import probe

    os.nice(NICENESS)
    held = _Held()
    try:
        pipe.send("ready")
        while True:
            job: Job = pipe.recv()
            try:
                victim, manifest = held.of(job)
                pipe.send(probe(victim, manifest, job.image, job.parameters))
            except EmpirError as error:
                pipe.send(error)
            except (EOFError, BrokenPipeError):
                raise
            except Exception:
                pipe.send(EmpirError(f"a probe failed:\n{traceback.format_exc()}"))
    except (EOFError, BrokenPipeError):
        pass


class _Held:
    """The bundles that the process has loaded: each once, and again when the server has loaded another version."""

    def __init__(self) -> None:
        self._by_folder: dict[Path, tuple[int, Victim, Manifest]] = {}

    def of(self, job: Job) -> "tuple[Victim, Manifest]":
        """What a job attacks. Raises Unavailable if another version is in the folder than the server has loaded."""
        from robustness.victim import Victim
        from runtime.bundle import load_bundle

        held = self._by_folder.get(job.folder)
        if held is None or (held[0], held[2].version) != (job.generation, job.version):
            bundle = load_bundle(job.folder, gradients=True)
            held = self._by_folder[job.folder] = (job.generation, Victim.of_bundle(bundle), bundle.manifest)
        _, victim, manifest = held
        if manifest.version != job.version:
            there = f"version {job.version} of it is served, {manifest.version} is in {job.folder} now"
            raise Unavailable(f"bundle: {there}; load it (POST /v2/repository/models/{manifest.name}/load)")
        return victim, manifest
