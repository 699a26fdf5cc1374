"""A worker: opens the bundle for itself, runs steps on images, and has the served graphs judge what they find."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, Labels
from robustness.evaluation.steps import CLEAN, Step, build
from robustness.foreign_attack import ForeignAttack
from robustness.reporting.report import VOTE
from robustness.victim import Array, Victim
from runtime.bundle import Bundle

JUDGED_AT_ONCE = 100


@dataclass(frozen=True)
class Task:
    """A step on G images [G, C, H, W] with these labels [G]; `seed` makes its random numbers.

    `known` [G, C, H, W]: an adversarial image for each, for the step that searches nearer ones. `starts` [S, C, H, W]:
    images for HopSkipJump to start from.
    """

    step: Step
    images: Array
    labels: Labels
    seed: tuple[int, ...]
    known: Array | None = None
    starts: Array | None = None


@dataclass(frozen=True)
class Judged:
    """What the served graphs say of K images: verdict [K] and votes [M, K], -1 without one; degraded [K]."""

    verdict: Labels
    votes: Labels
    degraded: NDArray[np.bool_]

    def wrong(self, labels: Labels) -> NDArray[np.bool_]:
        """[1 + M, K]: whether the vote, then each member, is wrong. Abstaining or degraded is never right."""
        vote = (self.verdict != labels) | self.degraded
        wrong: NDArray[np.bool_] = np.concatenate([vote[None], self.votes != labels])
        return wrong


@dataclass(frozen=True)
class Cost:
    """What a step took.

    not_finite: of the gradients, those that were not, and counted as 0. warnings: what a library said of the victim.
    """

    seconds: float = 0.0
    queries: int = 0
    gradient_calls: int = 0
    not_finite: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def total(cls, parts: Sequence["Cost"]) -> "Cost":
        """Of a step on several chunks; each warning once."""
        names = ("seconds", "queries", "gradient_calls", "not_finite")
        sums = {name: sum(getattr(part, name) for part in parts) for name in names}
        return cls(**sums, warnings=tuple(dict.fromkeys(said for part in parts for said in part.warnings)))


@dataclass(frozen=True)
class Outcome:
    """What a step found: images [K, C, H, W] for the task's images `source` [K], as judged; and what it cost."""

    source: NDArray[np.int64]
    images: Array
    judged: Judged
    cost: Cost = Cost()

    @classmethod
    def nothing(cls, n_members: int, image_shape: tuple[int, ...]) -> "Outcome":
        """Of a step without images."""
        none = np.zeros(0, dtype=np.int64)
        judged = Judged(none, np.zeros((n_members, 0), dtype=np.int64), np.zeros(0, dtype=bool))
        return cls(none, np.zeros((0, *image_shape), np.float32), judged)


def judge(victim: Victim, images: Array) -> Judged:
    """The verdicts on images [K, C, H, W]; not counted as the attack's queries."""
    if not len(images):
        return Outcome.nothing(victim.n_members, images.shape[1:]).judged
    parts = [
        victim.ensemble.predict(images[start : start + JUDGED_AT_ONCE], "full")
        for start in range(0, len(images), JUDGED_AT_ONCE)
    ]
    degraded = [part.degraded(image) for part in parts for image in range(len(part.verdict))]
    verdict, votes = (
        np.concatenate(each, axis=-1) for each in zip(*((p.verdict, p.votes) for p in parts), strict=True)
    )
    return Judged(verdict, votes, np.array(degraded, dtype=bool))


class Worker:
    """One bundle, opened with one thread, and the steps it is asked to run."""

    def __init__(self, bundle: Bundle) -> None:
        self._victim = Victim.of_bundle(bundle, cores=1)

    def run(self, task: Task) -> Outcome:
        """Raises what the step's attack raises."""
        return run_step(self._victim, task)

    def close(self) -> None:
        self._victim.close()


def run_step(victim: Victim, task: Task) -> Outcome:
    """Run a task's attack on what it attacks, the vote or a member alone; the whole ensemble judges what it found."""
    if task.step.attack == CLEAN:
        sources = np.arange(len(task.images))
        return Outcome(sources, task.images, judge(victim, task.images))
    names = [member.name for member in victim.ensemble.members]
    attacked = victim if task.step.on == VOTE else victim.alone(names.index(task.step.on))
    before = replace(attacked.spent)
    start = time.perf_counter()
    labels = task.labels if task.step.labels == "true" else judge(attacked, task.images).verdict
    attack = build(task.step, task.known, task.starts)
    listening = attack.listening() if isinstance(attack, ForeignAttack) else nullcontext(list[str]())
    with listening as said:
        found = attack.run(attacked, task.images, labels, np.random.default_rng(task.seed))
    seconds = time.perf_counter() - start
    spent = attacked.spent - before
    if attacked is not victim:
        attacked.close()
    images = _stacked(found, task.images)
    cost = Cost(seconds, spent.queries, spent.gradient_calls, spent.not_finite, tuple(said))
    return Outcome(np.array(sorted(found), dtype=np.int64), images, judge(victim, images), cost)


def _stacked(found: dict[int, Found], images: Array) -> Array:
    chosen = [found[source].image for source in sorted(found)]
    return np.stack(chosen).astype(np.float32) if chosen else np.zeros((0, *images.shape[1:]), np.float32)
