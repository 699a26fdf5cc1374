"""`empir load soak`: a long run, and whether anything drifts."""

import dataclasses
import itertools

import click
from rich.table import Table

from loadtest.commands import objectives
from loadtest.commands.options import (
    POSITIVE,
    SHARE,
    Common,
    common_options,
    milliseconds_of,
    provenance,
    read_target,
    require_listener,
)
from loadtest.commands.output import deliver, grid, outcomes, plain, pressure_text, resent_text
from loadtest.commands.run import P99_HELP, measured, require_answers
from loadtest.exchange import resident_bytes
from loadtest.latency import milliseconds
from loadtest.memory import MemoryLog
from loadtest.page.sections import megabytes, soak_page
from loadtest.report import intervals
from loadtest.soak import Soak, drift
from loadtest.subject import named, read_subject
from loadtest.view import watched


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@click.option("--rate", type=POSITIVE, default=100, show_default=True, help="Requests a second.")
@click.option("--duration", type=POSITIVE, default=600, show_default=True, help="Seconds that are measured.")
@click.option("--interval", type=POSITIVE, default=10, show_default=True, help="Seconds a row.")
@click.option("--p99", "p99_objective", callback=milliseconds_of, help=P99_HELP)
@click.option("--errors", type=SHARE, help="Objective for the share that is not answered 200; likewise.")
@common_options()
def soak(
    url: str,
    rate: float,
    duration: float,
    interval: float,
    p99_objective: float | None,
    errors: float | None,
    common: Common,
) -> None:
    """Hold a rate for long, and report each interval, drift of latency and growth of the server's memory.

    \b
    Examples:
      empir load soak --rate 300 --duration 3600 --html soak.html
      empir load soak --rate 50 --duration 120 --probes 0.01 --p99 20ms --errors 0
    """
    target = read_target(url, common)
    work, told, seconds = common.work(target), provenance(), duration + common.warmup
    require_listener(target)
    subject = read_subject(target, common.bundle)
    about = named({"measured": subject})
    times = (common.warmup + index * interval for index in itertools.count())
    with (
        watched(f"{target.name}, {rate:g} requests a second", seconds) as watch,
        MemoryLog(times, lambda: resident_bytes(target.base)) as memory,
    ):
        plan = common.plan(work, rate, seconds, partial=True)
        plan = dataclasses.replace(plan, requests=memory.begun_by(plan.requests))
        recording, pressure = common.sent(target, plan, watch)
    report = measured(recording, pressure, rate, seconds, common.warmup)
    require_answers(report, target, work)
    common.believe(pressure)
    until = min(seconds, float(recording.due.max()) + 1e-6)  # Ctrl-C ends a run early
    kept = recording.of(recording.due >= common.warmup)
    rows = intervals(recording, interval, until, common.warmup)
    p50, p99 = drift([row.latency.p50_ms for row in rows]), drift([row.latency.p99_ms for row in rows])
    told_at = [*memory.bytes, *[None] * len(rows)][: len(rows)]
    result = Soak(report, rows, p50, p99, told_at[0], resident_bytes(target.base), told_at)
    facts = (common.setting([target], common.loop(rate)), told)
    title = f"Soak of {target.name}"
    page = soak_page(title, about, result, kept, *facts)
    deliver(common, plain(result, subject), _table(result), title, page, about)
    objectives.require(report, p99_objective, errors)


def _table(soaked: Soak) -> Table:
    table = grid("from", "answered", "p50", "p99", "max", "memory", "outcomes", long=("outcomes",))
    for row, memory in zip(soaked.intervals, soaked.memory_bytes, strict=True):
        times = (milliseconds(each) for each in (row.latency.p50_ms, row.latency.p99_ms, row.latency.max_ms))
        table.add_row(
            f"{row.start:g} s", f"{row.answered_rate:,.0f}/s", *times, megabytes(memory), outcomes(row.outcomes)
        )
    words = [f"Drift over the run: {drift_text(soaked)}. Memory: {memory_text(soaked)}."]
    if soaked.report.resent:
        words.append(f"{resent_text(soaked.report.resent)}.")
    words.append(f"Load generator: {pressure_text(soaked.report.pressure)}.")
    table.caption, table.caption_justify = " ".join(words), "left"
    return table


def drift_text(soaked: Soak) -> str:
    """`p50 +1.2%, p99 -3.0%`."""
    each = (("p50", soaked.drift_p50), ("p99", soaked.drift_p99))
    return ", ".join(
        f"{name} {value:+.1%}" if value is not None else f"{name} too short to say" for name, value in each
    )


def memory_text(soaked: Soak) -> str:
    """`120 MB after the warm-up, 124 MB at the end`."""
    if soaked.memory_start_bytes is None or soaked.memory_end_bytes is None:
        return "not told by the server's /metrics"
    return f"{megabytes(soaked.memory_start_bytes)} after the warm-up, {megabytes(soaked.memory_end_bytes)} at the end"
