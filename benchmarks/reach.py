"""What share of a bundle's limit in this process reaches a client of its server, both measured in turn in one run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.batches import rate
from loadtest.client import Plan, address_of, drive
from loadtest.comparison import Ratio, ratio
from loadtest.pictures import open_pictures
from loadtest.pressure import Pressure, worst
from loadtest.report import summarize
from loadtest.target import BODIES, Target
from loadtest.workload import Mode, workload
from runtime.ensemble import Ensemble

__all__ = ["BODIES", "Reach", "reach"]


@dataclass(frozen=True)
class Reach:
    """One mode: images a second in this process, one at a time, and through the server; medians over the rounds."""

    mode: Mode
    limit: float
    served: float
    share: Ratio | None
    """Of the limit, with its 95% interval; None where a round answered nothing."""
    p50_ms: float | None
    pressure: Pressure


def reach(
    ensemble: Ensemble,
    images: NDArray[np.float32],
    target: Target,
    bundle: str,
    *,
    modes: Sequence[Mode] = ("full", "quorum"),
    connections: int = 16,
    rounds: int = 10,
    seconds: float = 0.5,
    warmup: float = 0.1,
) -> list[Reach]:
    """Alternate between the ensemble here, one image at a time, and a closed loop against the server.

    Raises ValueError if the server answers nothing, or does not know the bundle; OSError if it is not there.
    """
    stacks = [image[None] for image in images]
    found = []
    for mode in modes:
        work = workload(target, open_pictures(()), mode, bundle)
        plan = Plan(iter(()), seconds + warmup, connections)
        limits, rates, p50s, pressures = [], [], [], []
        for number in range(rounds):
            limits.append(rate(partial(ensemble.predict, mode=mode), stacks, 1, seconds))
            recording, pressure = drive(address_of(target.parts), replace(plan, requests=work.stream(number)))
            report = summarize(recording, pressure, None, plan.seconds, warmup)
            rates.append(report.answered_rate)
            p50s.append(report.latency.p50_ms or 0.0)
            pressures.append(pressure)
        share = ratio(rates, limits, 0)
        medians = [float(np.median(each)) for each in (limits, rates, p50s)]
        found.append(Reach(mode, medians[0], medians[1], share, medians[2] or None, worst(pressures)))
    return found


def read_target(text: str) -> Target:
    """`URL[#BODY]`; OIP binary without a body. Raises ValueError."""
    return Target.read(text, "oip-binary")
