"""Memory of a worker after many requests."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import psutil

from benchmarks.figure import Figure
from benchmarks.serving.load import Effort, Side

MOST_MB = 160
STRETCH = 3
"""Rounds that are one here."""


def memory(process: psutil.Process, sides: Sequence[Side], effort: Effort) -> Figure:
    """Resident memory after so many answers to the sides, which take turns; that of the probe process beside it."""
    stretch, answered = replace(effort, seconds=STRETCH * effort.seconds), 0
    for side in itertools.cycle(sides):
        answered += side.closed(stretch).outcomes.get("200", 0)
        if answered >= effort.lasting:
            break
    after = _megabytes(process)
    beside = max((_megabytes(child) for child in process.children(recursive=True)), default=0.0)
    measured = f"{after:.0f} MB (probe process: {beside:.0f} MB)"
    return Figure(f"memory of a worker after {answered:,} answers", f"at most {MOST_MB} MB", measured, after <= MOST_MB)


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6
