"""How many images a second a bundle takes in this process, in batches: the limit of whatever serves it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.ensemble import Ensemble
from runtime.prediction import Mode

Images = NDArray[np.float32]
Way = tuple[str, Callable[[Images], object]]
SIZES = (1, 16)
MODES: tuple[Mode, ...] = ("full", "quorum")


@dataclass(frozen=True)
class Throughput:
    """One way of answering, with batches of one size."""

    what: str
    batch: int
    images_per_second: float
    """Median over the rounds."""
    slowest: float
    fastest: float


def ways(ensemble: Ensemble) -> list[Way]:
    """`full` and `quorum`, all low-precision members, and each member alone: its bare session and a check."""
    low = [member for member in ensemble.members if not member.precision.is_float]
    voted: list[Way] = [(mode, partial(ensemble.predict, mode=mode)) for mode in MODES]
    alone: list[Way] = [(member.name, member.answer) for member in ensemble.members]
    together: list[Way] = [("low-precision members", lambda images: [m.answer(images) for m in low])] if low else []
    return [*voted, *together, *alone]


def batches(
    ensemble: Ensemble, images: Images, rounds: int = 5, seconds: float = 0.2, sizes: Sequence[int] = SIZES
) -> list[Throughput]:
    """Every way with every batch size, in turn in every round, so that a busy machine hits all alike.

    `images` float32 [N, C, H, W] are taken in turn.
    """
    cases = [(what, size, run, _stacked(images, size)) for what, run in ways(ensemble) for size in sizes]
    rates: list[list[float]] = [[] for _ in cases]
    for _, size, run, stacks in cases:
        rate(run, stacks, size, 0.0)  # the first run of a batch size prepares its memory
    for _ in range(rounds):
        for found, (_, size, run, stacks) in zip(rates, cases, strict=True):
            found.append(rate(run, stacks, size, seconds))
    return [
        Throughput(what, size, float(np.median(found)), min(found), max(found))
        for found, (what, size, _, _) in zip(rates, cases, strict=True)
    ]


def rate(run: Callable[[Images], object], stacks: Sequence[Images], size: int, seconds: float) -> float:
    """Images a second of `run` on the batches in turn, for at least so many seconds and each batch once."""
    done, start = 0, time.perf_counter()
    while True:
        for stack in stacks:
            run(stack)
        done += size * len(stacks)
        if (elapsed := time.perf_counter() - start) >= seconds:
            return done / elapsed


def _stacked(images: Images, size: int) -> list[Images]:
    """Batches [size, C, H, W]; images come again where there are too few."""
    count = max(1, len(images) // size)
    taken = np.arange(count * size).reshape(count, size) % len(images)
    return [images[rows] for rows in taken]
