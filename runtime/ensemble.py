"""The ensemble at work: members run, concurrently where that pays, and vote."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.errors import InvalidValue
from runtime.manifest import Vote
from runtime.member import Answer, Images, Member, Network
from runtime.vote import NO_VOTE, Classes, Probs, average_verdict, majority, majority_verdict, softmax

Mode = Literal["full", "quorum"]
Status = Literal["ok", "skipped", "error", "nonfinite", "deadline"]
Concurrency = Literal["auto", "members", "requests"]

# A hop to a thread costs about 0.05 ms; below this a member is finished before the hop has paid for itself.
SIDE_BY_SIDE_SECONDS = 0.0005


@dataclass(frozen=True)
class Prediction:
    """The ensemble's answer for N images; M members in the manifest's order, K classes."""

    verdict: Classes
    """[N]; NO_VOTE where there is no quorum."""
    votes: Classes
    """[M, N]; NO_VOTE for a member without a vote."""
    probs: Probs
    """[M, N, K] in [0, 1]; zero rows for members without a vote."""
    logits: NDArray[np.float32]
    """[M, N, K]; zero rows for members without a vote."""
    status: list[list[Status]]
    """[M][N]"""
    seconds: list[float]
    """[M]: time each member took for its images; 0 where it was not asked."""
    spans: list[tuple[float, float] | None] = field(default_factory=list)
    """[M]: start and end of each member's run on time.perf_counter's clock; None where it was not asked."""
    details: dict[str, str] = field(default_factory=dict)
    """What failed, by member name, in a member's own words; for logs."""
    inference_seconds: float = 0.0
    """Time in which members ran."""
    vote_seconds: float = 0.0
    """Time spent on turning their logits into probabilities, votes and the verdict."""

    def confidence(self, image: int) -> float:
        """Mean probability that the live members consulted give to the verdict."""
        live = self.votes[:, image] != NO_VOTE
        return float(self.probs[live, image, self.verdict[image]].mean())

    def agreement(self, image: int) -> float:
        """Share of the live members consulted that voted for the verdict."""
        votes = self.votes[:, image]
        live = votes != NO_VOTE
        return float((votes[live] == self.verdict[image]).mean())

    def degraded(self, image: int) -> bool:
        """Whether a member that was asked has no vote."""
        return any(row[image] not in ("ok", "skipped") for row in self.status)


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
    ) -> None:
        """`cores` bounds how many members run at once, over all callers; None takes those this process may use."""
        self.members = list(members)
        self.vote = vote
        self.n_classes = n_classes
        names = [member.name for member in self.members]
        self.tie_breaker = names.index(vote.tie_breaker) if vote.tie_breaker is not None else None
        self._deadline_s = member_deadline_ms / 1000
        self._concurrency = concurrency
        self._cores = cores or usable_cores()
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="member")
        self._image_seconds = [0.0] * len(self.members)
        low = [i for i, member in enumerate(self.members) if not member.precision.is_float]
        self._first, self._others = (low, [i for i in range(len(self.members)) if i not in low])

    @classmethod
    def of_bundle(cls, bundle: Bundle, *, member_deadline_ms: float = 2000, concurrency: Concurrency = "auto") -> Self:
        """Load every member of a verified bundle. Raises BundleError if one cannot be loaded."""
        members = [Member(bundle, entry) for entry in bundle.manifest.members]
        vote, n_classes = bundle.manifest.vote, len(bundle.manifest.labels)
        return cls(members, vote, n_classes, member_deadline_ms=member_deadline_ms, concurrency=concurrency)

    def warm_up(self, image: Images, repeats: int = 5) -> None:
        """Run each member on one image [1, C, H, W], so that the first caller waits for nothing, and time it."""
        for index, member in enumerate(self.members):
            self._image_seconds[index] = min(member.answer(image).seconds for _ in range(repeats))

    def side_by_side(self, indices: Sequence[int], n_images: int) -> bool:
        """Whether these members, for a batch of this size, run on threads of their own or one after the other."""
        if self._concurrency != "auto":
            return self._concurrency == "members"
        return (
            self._cores > 1
            and len(indices) > 1
            and max(self._image_seconds[i] for i in indices) * n_images > SIDE_BY_SIDE_SECONDS
        )

    def predict(self, images: Images, mode: Mode = "full") -> Prediction:
        """Verdicts for images float32 [N, C, H, W] in [0, 1].

        `quorum` runs the low-precision members first and the others only on the images whose verdict is still open;
        the verdict is the same as with `full`. Raises InvalidValue for `quorum` with the `average` rule.
        """
        if mode == "quorum" and self.vote.rule == "average":
            raise InvalidValue("mode: expected full, got quorum; this bundle's vote is the average of all members")
        start = time.perf_counter()
        ballot = _Ballot(len(self.members), len(images), self.n_classes)
        if mode == "full":
            self._consult(range(len(self.members)), images, ballot)
        else:
            self._consult(self._first, images, ballot)
            self._consult(self._others, images, ballot, self._open(ballot))
        return ballot.count(self._verdict(ballot), start)

    def dissent(self, images: Images, prediction: Prediction) -> bool:
        """Ask, afterwards, the members that a quorum left out: whether one of them votes against a verdict (audit)."""
        skipped = np.array([[status == "skipped" for status in row] for row in prediction.status])
        ballot = _Ballot(len(self.members), len(images), self.n_classes)
        self._consult(np.flatnonzero(skipped.any(axis=1)).tolist(), images, ballot)
        against = (ballot.votes != NO_VOTE) & (ballot.votes != prediction.verdict)
        return bool((skipped & against).any())

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _open(self, ballot: "_Ballot") -> NDArray[np.intp]:
        """The images whose verdict the missing votes can still change."""
        return np.flatnonzero(majority(ballot.votes, len(self.members), self.n_classes) == NO_VOTE)

    def _verdict(self, ballot: "_Ballot") -> Classes:
        if self.vote.rule == "average" or self.tie_breaker is None:
            return average_verdict(ballot.probs, ballot.votes != NO_VOTE)
        return majority_verdict(ballot.votes, self.n_classes, self.tie_breaker)

    def _consult(
        self, indices: Sequence[int], images: Images, ballot: "_Ballot", rows: NDArray[np.intp] | None = None
    ) -> None:
        if (rows is not None and len(rows) == 0) or not indices:
            return
        batch = images if rows is None or len(rows) == len(images) else images[rows]
        start = time.perf_counter()
        answers = (
            self._concurrently(indices, batch)
            if self.side_by_side(indices, len(batch))
            else self._in_turn(indices, batch)
        )
        ballot.inference_seconds += time.perf_counter() - start
        for index, (answer, end) in zip(indices, answers, strict=True):
            ballot.enter(
                index, self.members[index], answer, rows if rows is not None and len(rows) < len(images) else None, end
            )

    def _in_turn(self, indices: Sequence[int], batch: Images) -> list[tuple[Answer, float]]:
        answers = []
        for index in indices:
            answer = self.members[index].answer(batch)
            if answer.seconds > self._deadline_s:
                answer = Answer(None, answer.seconds, "deadline")
            answers.append((answer, time.perf_counter()))
        return answers

    def _concurrently(self, indices: Sequence[int], batch: Images) -> list[tuple[Answer, float]]:
        start = time.perf_counter()
        runs: list[tuple[Future[tuple[Answer, float]], ort.RunOptions]] = []
        for index in indices:
            options = ort.RunOptions()
            runs.append((self._pool.submit(_timed_answer, self.members[index], batch, options), options))
        late = wait([future for future, _ in runs], timeout=self._deadline_s).not_done
        answers = []
        for future, options in runs:
            if future in late:
                options.terminate = True  # frees the thread: ONNX Runtime stops at the next node
                future.cancel()
                now = time.perf_counter()
                answers.append((Answer(None, now - start, "deadline"), now))
            else:
                answers.append(future.result())
        return answers


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _timed_answer(member: Network, batch: Images, options: ort.RunOptions) -> tuple[Answer, float]:
    answer = member.answer(batch, options)
    return answer, time.perf_counter()


class _Ballot:
    """Votes as they come in."""

    def __init__(self, members: int, images: int, n_classes: int) -> None:
        self.votes: Classes = np.full((members, images), NO_VOTE, dtype=np.int64)
        self.probs: Probs = np.zeros((members, images, n_classes), dtype=np.float32)
        self.logits: NDArray[np.float32] = np.zeros_like(self.probs)
        self.status: list[list[Status]] = [["skipped"] * images for _ in range(members)]
        self.seconds = [0.0] * members
        self.spans: list[tuple[float, float] | None] = [None] * members
        self.details: dict[str, str] = {}
        self.inference_seconds = 0.0

    def enter(self, index: int, member: Network, answer: Answer, rows: NDArray[np.intp] | None, end: float) -> None:
        """Enter a member's answer for the images `rows`, or for all of them."""
        self.seconds[index] = answer.seconds
        self.spans[index] = (end - answer.seconds, end)
        where = slice(None) if rows is None else rows
        positions = range(self.votes.shape[1]) if rows is None else rows.tolist()
        if answer.logits is None:
            for position in positions:
                self.status[index][position] = answer.reason or "error"
            self.details[member.name] = answer.detail or (answer.reason or "error")
            return
        finite = np.asarray(np.isfinite(answer.logits).all(axis=1))
        logits = answer.logits if finite.all() else np.where(finite[:, None], answer.logits, 0)
        probs = softmax(logits, member.temperature)
        votes = logits.argmax(axis=1)
        if logits is not answer.logits:
            votes[~finite], probs[~finite] = NO_VOTE, 0
            self.details[member.name] = "returned a number that is not finite"
        self.votes[index, where], self.probs[index, where], self.logits[index, where] = votes, probs, logits
        for position, is_finite in zip(positions, finite.tolist(), strict=True):
            self.status[index][position] = "ok" if is_finite else "nonfinite"

    def count(self, verdict: Classes, start: float) -> Prediction:
        return Prediction(
            verdict,
            self.votes,
            self.probs,
            self.logits,
            self.status,
            self.seconds,
            self.spans,
            self.details,
            self.inference_seconds,
            time.perf_counter() - start - self.inference_seconds,
        )
