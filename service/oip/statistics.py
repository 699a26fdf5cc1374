"""What each model has done since the server started, as Triton's statistics count it."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from service.ledger import Ledger
from service.oip.model import Model

STAGES = {"queue": "queue", "decode": "compute_input", "inference": "compute_infer", "vote": "compute_output"}
"""Our words for the stages of a prediction, and Triton's."""


@dataclass
class Tally:
    """How often, and the nanoseconds it took together."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(1e9 * seconds)


@dataclass
class ModelStatistics:
    """What one version of a model has done."""

    last_inference_ms: int = 0
    images: int = 0
    executions: int = 0
    tallies: defaultdict[str, Tally] = field(default_factory=partial(defaultdict, Tally))
    """Of whole requests: success and fail."""
    batches: dict[int, defaultdict[str, Tally]] = field(default_factory=dict)
    """Of the stages of those that were answered, by their number of images."""

    def succeeded(self, request: "Counted", seconds: float) -> None:
        """Count a request that was answered."""
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.images += request.images
        self.executions += request.leads
        self.tallies["success"].add(seconds)
        batch = self.batches.setdefault(request.images, defaultdict(Tally))
        for stage, name in STAGES.items():
            batch[name].add(request.stages[stage])

    def add(self, other: "ModelStatistics") -> None:
        """Count what another process has counted."""
        self.last_inference_ms = max(self.last_inference_ms, other.last_inference_ms)
        self.images += other.images
        self.executions += other.executions
        _add(self.tallies, other.tallies)
        for size, tallies in other.batches.items():
            _add(self.batches.setdefault(size, defaultdict(Tally)), tallies)

    def document(self, model: Model) -> dict[str, Any]:
        """As Triton says it."""
        names = ("success", "fail", *STAGES.values(), "cache_hit", "cache_miss")
        total: defaultdict[str, Tally] = defaultdict(Tally)
        for tallies in (self.tallies, *self.batches.values()):
            _add(total, tallies)
        return {
            "name": model.name,
            "version": model.version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.images,
            "execution_count": self.executions,
            "inference_stats": _tallied(total, names),
            "batch_stats": [
                {"batch_size": size, **_tallied(tallies, ("compute_input", "compute_infer", "compute_output"))}
                for size, tallies in sorted(self.batches.items())
            ],
        }


class Statistics:
    """The statistics of all models, by name and version."""

    def __init__(self) -> None:
        self._of: defaultdict[tuple[str, str], ModelStatistics] = defaultdict(ModelStatistics)

    def counting(self, model: Model, ledger: Ledger) -> "Counted":
        """Counts the request that is answered in its block, once it is; as a failure if it raises."""
        return Counted(self.of(model.name, model.version), ledger)

    def of(self, name: str, version: str) -> ModelStatistics:
        """Those of one version of a model."""
        return self._of[name, version]

    def add(self, other: "Statistics") -> None:
        """Count what another process has counted."""
        for key, statistics in other._of.items():
            self._of[key].add(statistics)

    @property
    def events(self) -> int:
        """Grows with every request that is counted."""
        each = self._of.values()
        return sum(statistics.tallies[name].count for statistics in each for name in ("success", "fail"))

    def document(self, models: Iterable[Model]) -> dict[str, Any]:
        """The answer to a request for statistics."""
        return {"model_stats": [self._of[model.name, model.version].document(model) for model in models]}


class Counted:
    """One request on its way, while its block lasts."""

    def __init__(self, statistics: ModelStatistics, ledger: Ledger) -> None:
        self._statistics, self._ledger, self._start = statistics, ledger, time.perf_counter()
        self.images = 0
        self.leads = True
        """Whether it is the first of its batch: a batch of several requests is one execution."""
        self.stages: dict[str, float] = {}
        """Seconds of each stage, once they are known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        seconds = time.perf_counter() - self._start
        if error is None:
            self._ledger.note(partial(self._statistics.succeeded, self, seconds))
        else:
            self._statistics.tallies["fail"].add(seconds)


def _tallied(tallies: defaultdict[str, Tally], names: Iterable[str]) -> dict[str, dict[str, int]]:
    return {name: {"count": tallies[name].count, "ns": tallies[name].ns} for name in names}


def _add(tallies: defaultdict[str, Tally], others: defaultdict[str, Tally]) -> None:
    for name, other in others.items():
        tallies[name].count += other.count
        tallies[name].ns += other.ns
