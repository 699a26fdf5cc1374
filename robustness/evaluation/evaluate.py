"""An evaluation under way: chunks of images through the steps of a suite, each step saved when it has run."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.evaluation.crew import Crew
from robustness.evaluation.image_sets import Drawn
from robustness.evaluation.journal import Journal
from robustness.evaluation.ledger import Ledger
from robustness.evaluation.steps import Step, described, starts_of
from robustness.evaluation.suites import VERSION
from robustness.evaluation.worker import Outcome, Task
from robustness.norms import NormName
from runtime.errors import EmpirError
from runtime.manifest import Manifest

CHUNK = 50


class WorkerDied(EmpirError):
    """A process that ran attacks ended without a word."""

    code = "worker_died"


Advance = Callable[[str, float], None]
"""Told of every finished step: what it was, and about what share of the whole it was."""


@dataclass(frozen=True)
class Plan:
    """All that defines what an evaluation finds."""

    manifest: Manifest
    suite: str
    norm: NormName
    eps: float
    seed: int
    steps: list[Step]
    drawn: Drawn
    chunk: int = CHUNK

    def fingerprint(self) -> dict[str, Any]:
        """As JSON can hold it: an evaluation resumes only where this is the same."""
        manifest = self.manifest
        return {
            "bundle": manifest.name,
            "version": manifest.version,
            "members": {
                member.name: [member.sha256, member.gradient_sha256, member.temperature] for member in manifest.members
            },
            "vote": manifest.vote.model_dump(),
            "suite": self.suite,
            "suite version": VERSION,
            "norm": self.norm,
            "eps": self.eps,
            "seed": self.seed,
            "n": len(self.drawn.labels),
            "data set": [self.drawn.data_set, self.drawn.sums],
            "indices": self.drawn.indices.tolist(),
            "pixels": self.drawn.pixels_sha256,
            "chunk": self.chunk,
            "steps": [described(step) for step in self.steps],
        }


@dataclass
class _Chunk:
    number: int
    offset: int
    ledger: Ledger


def evaluate(plan: Plan, journal: Journal, crew: Crew, advance: Advance = lambda *_: None) -> list[Ledger]:
    """Run what is left of the plan's steps on every chunk, in order within a chunk; the chunks' ledgers.

    What a step finds depends on the plan alone: neither on the crew nor on interruptions. Raises what an attack raises;
    what had finished by then is in the journal.
    """
    return _Evaluation(plan, journal, crew, advance).run()


class _Evaluation:
    def __init__(self, plan: Plan, journal: Journal, crew: Crew, advance: Advance) -> None:
        self._plan, self._journal, self._crew, self._advance = plan, journal, crew, advance
        names = [member.name for member in plan.manifest.members]
        parts = range(0, len(plan.drawn.labels), plan.chunk)
        self._chunks = []
        for number, start in enumerate(parts):
            part = slice(start, start + plan.chunk)
            ledger = Ledger(plan.drawn.images[part], plan.drawn.labels[part], names, plan.norm, plan.eps)
            self._chunks.append(_Chunk(number, start, ledger))
        self._total = sum(step.cost for step in plan.steps) * len(self._chunks)

    def run(self) -> list[Ledger]:
        waiting = list(reversed(self._chunks))
        running: dict[Future[Outcome], tuple[_Chunk, NDArray[np.intp]]] = {}
        while waiting or running:
            while waiting and len(running) < self._crew.size:
                self._next(waiting.pop(), running)
            done = wait(running, return_when=FIRST_COMPLETED).done
            for future in done:
                chunk, given = running.pop(future)
                outcome = self._result(future)
                self._journal.save(chunk.number, len(chunk.ledger.rows), outcome)
                self._enter(chunk, given, outcome)
                self._next(chunk, running)
        return [chunk.ledger for chunk in self._chunks]

    def _next(self, chunk: _Chunk, running: dict[Future[Outcome], tuple[_Chunk, NDArray[np.intp]]]) -> None:
        """Hand out the chunk's next step; those that are in the journal, or have no images left, are just entered."""
        while (number := len(chunk.ledger.rows)) < len(self._plan.steps):
            step = self._plan.steps[number]
            given = chunk.ledger.given(step, chunk.offset)
            saved = self._journal.load(chunk.number, number)
            if saved is None and len(given):
                task = self._task(chunk, step, given)
                running[self._crew.submit(task)] = (chunk, given)
                return
            nothing = Outcome.nothing(len(chunk.ledger.targets) - 1, chunk.ledger.images.shape[1:])
            self._enter(chunk, given, saved or nothing)

    def _enter(self, chunk: _Chunk, given: NDArray[np.intp], outcome: Outcome) -> None:
        step = self._plan.steps[len(chunk.ledger.rows)]
        chunk.ledger.enter(step, given, outcome)
        self._advance(step.name, step.cost / self._total)

    def _task(self, chunk: _Chunk, step: Step, given: NDArray[np.intp]) -> Task:
        ledger, seed = chunk.ledger, (self._plan.seed, chunk.number, len(chunk.ledger.rows))
        known = ledger.smallest[given] if step.purpose == "nearest" else None
        starts = starts_of(step, self._plan.drawn.images, self._plan.drawn.labels)
        return Task(step, ledger.images[given], ledger.labels[given], seed, known, starts)

    def _result(self, future: "Future[Outcome]") -> Outcome:
        try:
            return future.result()
        except self._crew.died as error:
            raise WorkerDied("a worker died; is there memory enough for --workers? The same command goes on") from error
