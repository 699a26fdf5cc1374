"""What a quorum costs, in CPU time, over the full-precision member alone."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.context import Context
from benchmarks.figure import Figure, spread
from runtime.ensemble import Ensemble

IMAGES = 1000
ROUNDS = 9
LARGEST_RATIO = 0.95


def quorum(context: Context) -> list[Figure]:
    """Batch 1, in-process, clean test images; both sides in turn in every round. The fp32 side is its bare session."""
    ensemble = Ensemble.of_bundle(context.bundle)
    images = context.test.pixels(0, IMAGES)[:, None]
    fp32 = next(member for member in ensemble.members if member.precision.is_float)
    ratios, alone, voted = [], [], []
    for _ in range(ROUNDS):
        alone.append(_cpu_us(fp32.answer, images))
        voted.append(_cpu_us(lambda image: ensemble.predict(image, "quorum"), images))
        ratios.append(voted[-1] / alone[-1])
    text = f"{spread(ratios)}; {np.median(voted):.0f} us over {np.median(alone):.0f} us an image"
    return [Figure("quorum over fp32 alone, CPU time", "at most 0.95", text, float(np.median(ratios)) <= LARGEST_RATIO)]


def _cpu_us(run: Callable[[NDArray[np.float32]], object], images: NDArray[np.float32]) -> float:
    start = time.process_time_ns()
    for image in images:
        run(image)
    return (time.process_time_ns() - start) / 1000 / len(images)
