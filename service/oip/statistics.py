"""What each model has done since the server started, as Triton's statistics count it."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from runtime.prediction import Prediction
from service.catalog import Judged
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
    tallies: defaultdict[str, Tally] = field(default_factory=partial(defaultdict, Tally))
    """Of requests: success and fail, and of those that were answered their stages."""
    batches: defaultdict[int, defaultdict[str, Tally]] = field(
        default_factory=partial(defaultdict, partial(defaultdict, Tally))
    )
    """Of executions: their stages, by the number of images that were run together."""

    def succeeded(self, request: "Counted", seconds: float) -> None:
        """Count a request that was answered."""
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.images += request.images
        self.tallies["success"].add(seconds)
        for stage, name in STAGES.items():
            self.tallies[name].add(request.stages[stage])
        self.batches[request.together]["compute_input"].ns += round(1e9 * request.stages["decode"])

    def executed(self, prediction: Prediction) -> None:
        """Count an execution, one for all the requests whose images were in it; each adds the time of its decoding."""
        batch = self.batches[len(prediction.verdict)]
        batch["compute_input"].add(0)
        batch["compute_infer"].add(prediction.inference_seconds)
        batch["compute_output"].add(prediction.vote_seconds)

    @property
    def executions(self) -> int:
        """How often the model was run."""
        return sum(batch["compute_infer"].count for batch in self.batches.values())

    @property
    def events(self) -> int:
        """Grows with everything that is counted."""
        return self.tallies["success"].count + self.tallies["fail"].count + self.executions

    def add(self, other: "ModelStatistics") -> None:
        """Count what another process has counted."""
        self.last_inference_ms = max(self.last_inference_ms, other.last_inference_ms)
        self.images += other.images
        _add(self.tallies, other.tallies)
        for size, tallies in other.batches.items():
            _add(self.batches[size], tallies)

    def document(self, model: Model) -> dict[str, Any]:
        """As Triton says it."""
        names = ("success", "fail", *STAGES.values(), "cache_hit", "cache_miss")
        return {
            "name": model.name,
            "version": model.version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.images,
            "execution_count": self.executions,
            "inference_stats": _tallied(self.tallies, names),
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
        """Grows with everything that is counted."""
        return sum(statistics.events for statistics in self._of.values())

    def document(self, models: Iterable[Model]) -> dict[str, Any]:
        """The answer to a request for statistics."""
        return {"model_stats": [self._of[model.name, model.version].document(model) for model in models]}


class Counted:
    """One request on its way, while its block lasts."""

    def __init__(self, statistics: ModelStatistics, ledger: Ledger) -> None:
        self._statistics, self._ledger, self._start = statistics, ledger, time.perf_counter()
        self.images, self.together = 0, 0
        """Of the request, and of the execution that they were part of."""
        self.stages: dict[str, float] = {}
        """Seconds of each stage, once they are known."""

    def executed(self, judged: Judged) -> None:
        """Count an execution that it is the first request of: it has been, whatever becomes of the request."""
        self._ledger.note(partial(self._statistics.executed, judged.prediction))

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
