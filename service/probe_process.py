"""The probe process: attacks run in a process of their own, so that predictions do not wait for them."""

import asyncio
import multiprocessing
import os
import signal
import traceback
from dataclasses import dataclass
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

NICENESS = 10
GRACE_S = 10.0
"""Time beyond its budget after which a probe's process is taken to hang, and is replaced."""
START_S = 30.0


@dataclass(frozen=True)
class Job:
    """One probe: the bundle's folder and version, the image float32 [1, C, H, W] and the attack."""

    folder: Path
    version: str
    image: Images
    parameters: "AttackParameters"


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
    """The process's life: answer jobs until the other side of the pipe is gone. Loads each bundle once."""
    from robustness.probe import probe
    from robustness.victim import Victim
    from runtime.bundle import Bundle, load_bundle

    os.nice(NICENESS)
    victims: dict[Path, tuple[Victim, Bundle]] = {}
    try:
        pipe.send("ready")
        while True:
            job: Job = pipe.recv()
            try:
                if job.folder not in victims:
                    bundle = load_bundle(job.folder, gradients=True)
                    victims[job.folder] = (Victim.of_bundle(bundle), bundle)
                victim, bundle = victims[job.folder]
                if bundle.manifest.version != job.version:
                    served = f"version {job.version} of it is served, {bundle.manifest.version} is in {job.folder}"
                    raise Unavailable(f"bundle: {served} now; restart the server")
                pipe.send(probe(victim, bundle.manifest, job.image, job.parameters))
            except EmpirError as error:
                pipe.send(error)
            except (EOFError, BrokenPipeError):
                raise
            except Exception:
                pipe.send(EmpirError(f"a probe failed:\n{traceback.format_exc()}"))
    except (EOFError, BrokenPipeError):
        pass
