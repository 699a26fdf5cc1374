"""Images a second that reach a client: of the limit in-process, over a hand-written handler, by two workers."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, believed
from benchmarks.reach import reach, read_target
from benchmarks.serving.load import Effort, Side, in_turn, pressures_of
from loadtest.comparison import Ratio, ratio
from loadtest.pressure import Pressure
from loadtest.report import Report
from loadtest.workload import Mode
from runtime.ensemble import Ensemble

LEAST_SHARE: dict[Mode, float] = {"full": 0.75, "quorum": 0.6}
LEAST_OVER_BASELINE: dict[Mode, float] = {"full": 2.0, "quorum": 3.0}
LEAST_OF_TWO_WORKERS = 1.4


def share(ensemble: Ensemble, images: NDArray[np.float32], url: str, bundle: str, effort: Effort) -> list[Figure]:
    """Of what the ensemble does in this process, one image at a time, in turn with the server."""
    figures = []
    rounds, seconds, warmup = effort.rounds, effort.seconds / 2, effort.warmup / 2
    for each in reach(ensemble, images, read_target(url), bundle, rounds=rounds, seconds=seconds, warmup=warmup):
        what = f"OIP binary, {each.mode}: share of the limit in-process"
        rates = f"{each.served:,.0f} of {each.limit:,.0f}/s"
        figures.append(_at_least(LEAST_SHARE[each.mode], what, each.share, rates, [each.pressure]))
    return figures


def over_baseline(url: str, baseline: str, effort: Effort) -> list[Figure]:
    """PNG to /predict, in both modes and to the hand-written handler, in turn."""
    sides = [Side.of(f"{baseline}#png"), *(Side.of(f"{url}#png", mode) for mode in LEAST_OVER_BASELINE)]
    base, *served = in_turn(sides, effort)
    return [
        _over(f"PNG, {mode}: over the hand-written handler", least, reports, base, pressures_of(*served, base))
        for (mode, least), reports in zip(LEAST_OVER_BASELINE.items(), served, strict=True)
    ]


def two_workers(two: str, one: str, effort: Effort) -> Figure:
    """A server of two workers over one of one worker on a core, while this process shares the cores.

    That the load generator is late there is part of it: it waits for a core, as the workers do.
    """
    base, served = in_turn([Side.of(one), Side.of(two)], effort)
    pressures = [replace(each, late_p90_ms=0.0) for each in pressures_of(base, served)]
    return _over("2 workers over 1 on one core, client sharing both", LEAST_OF_TWO_WORKERS, served, base, pressures)


def _over(
    what: str, least: float, upper: Sequence[Report], lower: Sequence[Report], pressures: list[Pressure]
) -> Figure:
    rates = [[report.answered_rate for report in each] for each in (upper, lower)]
    told = f"{median(rates[0]):,.0f} and {median(rates[1]):,.0f}/s, {len(upper)} rounds"
    return _at_least(least, what, ratio(rates[0], rates[1], 0), told, pressures)


def _at_least(least: float, what: str, found: Ratio | None, rates: str, pressures: list[Pressure]) -> Figure:
    good = found is not None and found.value >= least
    return believed(Figure(what, f"at least {least:g}", f"{found or 'none'}; {rates}", good), pressures)
