"""What a server adds to a call, how requests queue in it, and how soon it refuses what is too much."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, believed, spread
from benchmarks.server import exchange
from benchmarks.serving.load import Effort, Side, pressures_of
from loadtest.client import address_of
from loadtest.latency import Latency
from loadtest.report import Report

MOST_ADDED_MS = {50: 0.25, 99: 0.8}
"""By percentile."""
LOAD, MOST_P99_OVER_P50, CONNECTIONS = 0.7, 6.0, 64
OVERLOAD, MOST_REFUSAL_MS, CROWD = 2.0, 50.0, 256
"""So many connections that the queue is full."""

Seconds = NDArray[np.float64]


def added(name: str, calls: Sequence[Callable[[], object]], side: Side, effort: Effort) -> list[Figure]:
    """A percentile of requests less that of calls in this process, each one after the other, in turn in every round.

    On a bare socket: a client's own work must not be counted as the server's.
    """
    here, there = [], []
    for _ in range(effort.rounds):
        here.append(_times(calls, effort.calls))
        with socket.create_connection(address_of(side.target.parts)[1]) as connection:
            exchange(connection, side.work.predictions[0])
            sent = [partial(exchange, connection, request) for request in side.work.predictions]
            there.append(_times(sent, effort.calls))
    figures = []
    for percent, most in MOST_ADDED_MS.items():
        found = [
            1000 * float(np.percentile(t, percent) - np.percentile(h, percent))
            for h, t in zip(here, there, strict=True)
        ]
        what = f"added to the call in-process, {name}, p{percent}"
        figures.append(Figure(what, f"at most {most:g} ms", f"{spread(found)} ms", median(found) <= most))
    return figures


def queueing(side: Side, effort: Effort) -> Figure:
    """p99 over p50 with Poisson arrivals at a share of what a closed loop is answered."""
    longer = replace(effort, seconds=3 * effort.seconds)
    closed = [side.closed(effort, number) for number in range(3)]
    rate = LOAD * median(report.answered_rate for report in closed)
    opened = [side.opened(longer, rate, number, CONNECTIONS)[0] for number in range(effort.rounds)]
    found = [_p99_over_p50(report) for report in opened]
    what = f"Poisson arrivals at {LOAD:.0%} of the closed loop: p99 over p50"
    p50 = median(report.latency.p50_ms or float("inf") for report in opened)
    measured = f"{spread(found, 1)}; p50 {p50:.2g} ms at {rate:,.0f}/s"
    figure = Figure(what, f"at most {MOST_P99_OVER_P50:g}", measured, median(found) <= MOST_P99_OVER_P50)
    return believed(figure, pressures_of(closed, opened))


def refusals(side: Side, effort: Effort) -> Figure:
    """Twice what a closed loop is answered: how soon a 429 comes, and what the others wait."""
    rate = OVERLOAD * side.closed(effort).answered_rate
    longer, reports, refused = replace(effort, seconds=2 * effort.seconds), [], []
    for number in range(effort.rounds // 2):
        report, recording = side.opened(longer, rate, number, CROWD)
        reports.append(report)
        refused.append(recording.seconds[recording.which("429")])
    latency = Latency.of(np.concatenate(refused))
    accepted = median(report.latency.p99_ms or float("inf") for report in reports)
    what, promised = f"429 at {OVERLOAD:g} times the closed loop: p99", f"at most {MOST_REFUSAL_MS:g} ms"
    if latency.p99_ms is None:
        return believed(Figure(what, promised, "nothing was refused", False), pressures_of(reports))
    measured = (
        f"{latency.p99_ms:.1f} ms, p50 {latency.p50_ms:.1f} ms (n = {latency.n:,}); answered: p99 {accepted:.0f} ms"
    )
    return believed(Figure(what, promised, measured, latency.p99_ms <= MOST_REFUSAL_MS), pressures_of(reports))


def _p99_over_p50(report: Report) -> float:
    """Infinite where more than a hundredth was not answered."""
    if report.p99_of_all_ms is None or not report.latency.p50_ms:
        return float("inf")
    return report.p99_of_all_ms / report.latency.p50_ms


def _times(calls: Sequence[Callable[[], object]], count: int) -> Seconds:
    """Seconds of each of so many calls, in turn."""
    found = np.empty(count)
    for index in range(count):
        begun = time.perf_counter()
        calls[index % len(calls)]()
        found[index] = time.perf_counter() - begun
    return found
