"""Servers side by side: alternating rounds in a random order, and ratios of what the same round measured."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Round:
    """What one server did in one round."""

    answered_rate: float
    p50_ms: float | None
    p99_ms: float | None
    failed: float
    resent: int = 0


@dataclass(frozen=True)
class Ratio:
    """A ratio over the rounds: the geometric mean, and its 95% bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Row:
    """One server over all rounds; ratios over the first server, of the same rounds."""

    name: str
    rounds: list[Round]
    answered_rate: float
    """Median of the rounds, as are the latencies."""
    p50_ms: float | None
    p99_ms: float | None
    failed: float
    """Largest of the rounds."""
    resent: int
    """Requests of all rounds that were sent once more, because the server had closed their connection."""
    rate_ratio: Ratio | None
    """None where a round answered nothing."""
    p50_ratio: Ratio | None


def schedule(servers: int, rounds: int, seed: int) -> list[list[int]]:
    """In each round every server once, in an order of its own."""
    chance = random.Random(seed)
    return [chance.sample(range(servers), servers) for _ in range(rounds)]


def compare(names: Sequence[str], rounds: Sequence[Sequence[Round]], seed: int) -> list[Row]:
    """`rounds[r][s]` is what server s did in round r; pairs are of one round: what changed for all falls out."""
    rows = []
    base = [each[0] for each in rounds]
    for index, name in enumerate(names):
        mine = [each[index] for each in rounds]
        row = Row(
            name,
            mine,
            float(np.median([each.answered_rate for each in mine])),
            _median([each.p50_ms for each in mine]),
            _median([each.p99_ms for each in mine]),
            max(each.failed for each in mine),
            sum(each.resent for each in mine),
            ratio([each.answered_rate for each in mine], [each.answered_rate for each in base], seed),
            ratio([each.p50_ms for each in mine], [each.p50_ms for each in base], seed),
        )
        rows.append(row)
    return rows


def ratio(upper: Sequence[float | None], lower: Sequence[float | None], seed: int) -> Ratio | None:
    """Geometric mean of upper[i] / lower[i] with its interval; None if one of them is nothing."""
    above, below = _numbers(upper), _numbers(lower)
    if above is None or below is None:
        return None
    logs = np.log(above / below)
    chosen = np.random.default_rng(seed).integers(0, len(logs), (RESAMPLES, len(logs)))
    ends = np.quantile(logs[chosen].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(*(float(each) for each in np.exp([logs.mean(), *ends])))


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64] | None:
    found = [each for each in values if each]
    return np.array(found) if found and len(found) == len(values) else None


def _median(values: Sequence[float | None]) -> float | None:
    numbers = _numbers(values)
    return None if numbers is None else round(float(np.median(numbers)), 3)
