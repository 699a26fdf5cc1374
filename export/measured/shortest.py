"""Times of things that do the same, taken side by side."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Name = TypeVar("Name")

ROUNDS = 100
REPEATS = 3


def shortest_us(runs: Mapping[Name, Callable[[], object]], rounds: int = ROUNDS) -> dict[Name, float]:
    """Microseconds of this thread's CPU time, by name: the shortest of many runs, each in turn, since what disturbs a
    run only makes it longer."""
    times: dict[Name, list[int]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.thread_time_ns()
            for _ in range(REPEATS):
                run()
            times[name].append(time.thread_time_ns() - start)
    return {name: round(min(taken) / REPEATS / 1000, 1) for name, taken in times.items()}
