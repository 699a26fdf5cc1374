"""The ensemble at work: members run, concurrently where that pays, and vote."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import onnxruntime as ort

from runtime.ballot import Ballot, Rows
from runtime.bundle import Bundle
from runtime.engine import Engine, EngineSetting
from runtime.errors import BundleError, InvalidValue
from runtime.manifest import Vote
from runtime.member import Answer, Images, Member, Network
from runtime.prediction import Mode, Prediction
from runtime.vote import NO_VOTE, Classes, average_verdict, majority, majority_verdict

Way = Literal["members", "requests"]
Concurrency = Literal["auto", "members", "requests"]


@dataclass(frozen=True)
class Timing:
    """What one image took at warm-up, in seconds: all members one after the other, and side by side on threads."""

    in_turn: float
    side_by_side: float
    cores: int

    @property
    def chosen(self) -> Way:
        """The quicker way."""
        return "members" if self.side_by_side < self.in_turn and self.cores > 1 else "requests"


class Ensemble:
    """Members and their vote. Safe to call from several threads."""

    def __init__(
        self,
        members: Sequence[Network],
        vote: Vote,
        n_classes: int,
        *,
        member_deadline_ms: float = 2000,
        concurrency: Concurrency = "auto",
        cores: int | None = None,
        engines: Sequence[Engine] | None = None,
    ) -> None:
        """`cores` bounds how many members one call runs at once; None takes those this process may use.

        Over several callers and ensembles whoever calls bounds them: `predict` keeps to its `idle_cores`, and `width`
        says how many of those it takes. `engines`: what runs each member; None for ONNX Runtime.
        """
        self.members = list(members)
        self.engines = [Engine() for _ in self.members] if engines is None else list(engines)
        self.vote = vote
        self.n_classes = n_classes
        names = [member.name for member in self.members]
        self.tie_breaker = names.index(vote.tie_breaker) if vote.tie_breaker is not None else None
        temperatures = np.array([member.temperature for member in self.members], dtype=np.float32)
        self._temperatures = temperatures[:, None, None]
        self._deadline_s = member_deadline_ms / 1000
        self.concurrency = concurrency
        self.cores = cores or usable_cores()
        self._pool = ThreadPoolExecutor(self.cores, thread_name_prefix="member")
        self._image_seconds, self._hop_seconds = [0.0] * len(self.members), 0.0
        self.timing: Timing | None = None
        low = [i for i, member in enumerate(self.members) if not member.precision.is_float]
        self._all = list(range(len(self.members)))
        self._first, self._others = low, [i for i in self._all if i not in low]

    @classmethod
    def of_bundle(
        cls,
        bundle: Bundle,
        *,
        member_deadline_ms: float = 2000,
        concurrency: Concurrency = "auto",
        cores: int | None = None,
        engine: EngineSetting = "onnxruntime",
    ) -> Self:
        """Load every member of a verified bundle, and warm it up. Raises BundleError if one cannot be loaded or run."""
        cores = cores or usable_cores()
        members = [Member(bundle, entry, engine, cores) for entry in bundle.manifest.members]
        ensemble = cls(
            members,
            bundle.manifest.vote,
            len(bundle.manifest.labels),
            member_deadline_ms=member_deadline_ms,
            concurrency=concurrency,
            cores=cores,
            engines=[member.engine for member in members],
        )
        spec = bundle.manifest.input
        ensemble.warm_up(np.zeros((1, spec.channels, spec.height, spec.width), np.float32))
        return ensemble

    def alone(self, index: int) -> "Ensemble":
        """The member at `index` as an ensemble of its own, which shares its session."""
        network = self.members[index]
        ensemble = Ensemble(
            [network],
            Vote(rule="majority", tie_breaker=network.name),
            self.n_classes,
            member_deadline_ms=1000 * self._deadline_s,
            concurrency=self.concurrency,
            cores=self.cores,
            engines=[self.engines[index]],
        )
        seconds = self._image_seconds[index]
        ensemble._image_seconds = [seconds]
        ensemble.timing = None if self.timing is None else Timing(seconds, seconds, self.cores)
        return ensemble

    @property
    def way(self) -> Way | None:
        """How the members of one request run while cores are idle; None where only a warm-up could tell."""
        if self.concurrency != "auto":
            return self.concurrency
        return None if self.timing is None else self.timing.chosen

    def warm_up(self, image: Images, repeats: int = 5) -> None:
        """Run each member on one image [1, C, H, W], so that the first caller waits for nothing, and time it.

        Raises BundleError if one fails.
        """
        for index, member in enumerate(self.members):
            answers = [member.answer(image) for _ in range(repeats)]
            if answers[-1].logits is None:
                raise BundleError(f"member {member.name}: fails on a blank image: {answers[-1].detail}")
            self._image_seconds[index] = min(answer.seconds for answer in answers)
        walls = []
        for _ in range(repeats):
            start = time.perf_counter()
            self._concurrently(self._all, image, self.cores)
            walls.append(time.perf_counter() - start)
        self._hop_seconds = max(0.0, min(walls) - self._spread(self._all, self.cores))
        self.timing = Timing(
            sum(self._image_seconds), self._spread(self._all, self.cores) + self._hop_seconds, self.cores
        )

    def side_by_side(self, indices: Sequence[int], n_images: int, idle_cores: int | None = None) -> bool:
        """Whether these members, for a batch of this size, run on threads of their own or one after the other.

        With `auto` that goes by what the warm-up took, and by how many cores are idle: under load, requests keep them
        busy better than members do.
        """
        if self.concurrency != "auto":
            return self.concurrency == "members"
        cores = self._allowed(idle_cores)
        if cores < 2 or len(indices) < 2:
            return False
        in_turn = sum(self._image_seconds[i] for i in indices)
        return n_images * self._spread(indices, cores) + self._hop_seconds < n_images * in_turn

    def width(self, mode: Mode, n_images: int, idle_cores: int) -> int:
        """How many members `predict` then runs at once, at most: so many cores it takes while it runs."""
        groups = [self._all] if mode == "full" else [self._first, self._others]
        wide = [len(group) for group in groups if self.side_by_side(group, n_images, idle_cores)]
        return max(1, min(self._allowed(idle_cores), max(wide, default=1)))

    def _allowed(self, idle_cores: int | None) -> int:
        return self.cores if idle_cores is None else min(idle_cores, self.cores)

    def _spread(self, indices: Sequence[int], cores: int) -> float:
        """Seconds for one image with these members on `cores` threads, the longest first, without what threads cost."""
        loads = [0.0] * cores
        for seconds in sorted((self._image_seconds[i] for i in indices), reverse=True):
            loads[loads.index(min(loads))] += seconds
        return max(loads)

    def predict(self, images: Images, mode: Mode = "full", *, idle_cores: int | None = None) -> Prediction:
        """Verdicts for images float32 [N, C, H, W] in [0, 1].

        `quorum` runs the low-precision members first and the others only on the images whose verdict is still open;
        the verdict is the same as with `full`. At most `idle_cores` members run at once, by default one on each core.
        Raises InvalidValue for `quorum` with the `average` rule.
        """
        if mode == "quorum" and self.vote.rule == "average":
            raise InvalidValue("mode: expected full, got quorum; this bundle's vote is the average of all members")
        ballot = Ballot(self.members, self._temperatures, len(images), self.n_classes)
        if mode == "full":
            self._consult(self._all, images, ballot, idle_cores=idle_cores)
            return ballot.result(self._verdict(ballot))
        self._consult(self._first, images, ballot, idle_cores=idle_cores)
        leaders = majority(ballot.votes, len(self.members))
        undecided = [row for row, leader in enumerate(leaders.tolist()) if leader == NO_VOTE]
        if not undecided:
            return ballot.result(leaders)
        self._consult(self._others, images, ballot, np.array(undecided), idle_cores)
        return ballot.result(self._verdict(ballot))

    def dissent(self, images: Images, prediction: Prediction) -> list[bool | None]:
        """Ask, afterwards, the members that a quorum left out (audit): whether one votes against a verdict, by image.

        None where one of them failed and none dissents: that tells nothing.
        """
        skipped = np.array([[status == "skipped" for status in row] for row in prediction.status])
        ballot = Ballot(self.members, self._temperatures, len(images), self.n_classes)
        self._consult(np.flatnonzero(skipped.any(axis=1)).tolist(), images, ballot, idle_cores=1)
        voted = ballot.votes != NO_VOTE
        against = (skipped & voted & (ballot.votes != prediction.verdict)).any(axis=0).tolist()
        unknown = (skipped & ~voted).any(axis=0).tolist()
        return [True if no else None if silent else False for no, silent in zip(against, unknown, strict=True)]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verdict(self, ballot: Ballot) -> Classes:
        if self.vote.rule == "average" or self.tie_breaker is None:
            return average_verdict(ballot.probs, ballot.votes != NO_VOTE)
        return majority_verdict(ballot.votes, self.tie_breaker)

    def _consult(
        self,
        indices: Sequence[int],
        images: Images,
        ballot: Ballot,
        rows: Rows | None = None,
        idle_cores: int | None = None,
    ) -> None:
        """Run the members `indices` on the images `rows`, or on all, and enter what they answer."""
        if not indices:
            return
        if rows is not None and len(rows) == len(images):
            rows = None
        batch = images if rows is None else images[rows]
        start = time.perf_counter()
        if self.side_by_side(indices, len(batch), idle_cores):
            answers = self._concurrently(indices, batch, self._allowed(idle_cores))
        else:
            answers = self._in_turn(indices, batch)
        ballot.inference_seconds += time.perf_counter() - start
        ballot.enter(indices, answers, rows)

    def _in_turn(self, indices: Sequence[int], batch: Images) -> list[tuple[Answer, float]]:
        answers = []
        for index in indices:
            answer = self.members[index].answer(batch)
            if answer.seconds > self._deadline_s:
                answer = Answer(None, answer.seconds, "deadline")
            answers.append((answer, time.perf_counter()))
        return answers

    def _concurrently(self, indices: Sequence[int], batch: Images, cores: int) -> list[tuple[Answer, float]]:
        start = time.perf_counter()
        runs = [_Run(self.members[index], batch) for index in indices]
        next_one = iter(runs)  # shared by the threads: whichever is free takes the next member
        for _ in range(min(cores, len(runs))):
            self._pool.submit(_work_off, next_one)
        late = wait([run.answer for run in runs], timeout=self._deadline_s).not_done
        answers = []
        for run in runs:
            if run.answer in late:
                run.options.terminate = True  # frees the thread: ONNX Runtime stops at the next node
                run.answer.cancel()
                now = time.perf_counter()
                answers.append((Answer(None, now - start, "deadline"), now))
            else:
                answers.append(run.answer.result())
        return answers


class _Run:
    """A member's answer to a batch, and when it was there; still to come."""

    def __init__(self, member: Network, batch: Images) -> None:
        self._member, self._batch = member, batch
        self.options = ort.RunOptions()
        self.answer: Future[tuple[Answer, float]] = Future()

    def __call__(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            answer = self._member.answer(self._batch, self.options)
        except BaseException as error:
            self.answer.set_exception(error)
        else:
            self.answer.set_result((answer, time.perf_counter()))


def _work_off(runs: Iterator[_Run]) -> None:
    for run in runs:
        run()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
