"""`empir load capacity`: the highest rate that holds a latency objective."""

import dataclasses

import click
from rich.console import Console
from rich.table import Table

from loadtest.capacity import Capacity, Step, search
from loadtest.client import TIMEOUT_S
from loadtest.commands.options import (
    POSITIVE,
    SHARE,
    Common,
    Missed,
    common_options,
    milliseconds_of,
    provenance,
    read_target,
)
from loadtest.commands.output import deliver, grid, plain, pressure_text, resent_text
from loadtest.commands.run import measured, require_answers
from loadtest.latency import milliseconds
from loadtest.page.sections import capacity_page
from loadtest.subject import named, read_subject
from loadtest.target import Target
from loadtest.view import watched
from loadtest.workload import Workload

LEAST_SHARE = 0.95
"""Of the rate that is offered, what must be answered while it is: less is a queue that grows."""
LEAST_REQUESTS = 10
"""No step has fewer: a percentile of less is none."""
PATIENCE = 20
"""A request that takes so many times the objective has missed it: no use in waiting for it longer."""


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@click.option("--p99", callback=milliseconds_of, default="10ms", show_default=True, help="What p99 may be.")
@click.option("--errors", type=SHARE, default=0.001, show_default=True, help="What share may not be answered 200.")
@click.option("--step", type=POSITIVE, default=3.0, show_default=True, help="Seconds measured at each rate.")
@click.option("--start", type=POSITIVE, default=100.0, show_default=True, help="The first rate.")
@click.option("--ceiling", type=POSITIVE, default=20_000.0, show_default=True, help="The highest rate to try.")
@click.option("--precision", type=SHARE, default=0.05, show_default=True, help="How exactly, as a share of the rate.")
@common_options()
def capacity(
    url: str,
    p99: float,
    errors: float,
    step: float,
    start: float,
    ceiling: float,
    precision: float,
    common: Common,
) -> None:
    """The highest rate that the server at URL holds with p99 under the objective: doubled, then halved in between.

    Says so when a higher rate held where a lower one did not, and "at least" where the load generator was the limit
    beyond. Exit codes: 3 it was the limit at the first rate, 4 not even a small fraction of --start held.

    \b
    Examples:
      empir load capacity --p99 10ms http://127.0.0.1:8000
      empir load capacity --p99 5ms --body oip-binary --mode quorum --html capacity.html
    """
    target = read_target(url, common)
    work, told, console = common.work(target), provenance(), Console(stderr=True)
    subject = read_subject(target, common.bundle)
    about = named({"measured": subject})

    def measure(rate: float) -> Step:
        found = _step(common, target, work, rate, step, p99, errors)
        words = f"answered {found.answered_rate:,.0f}/s, p99 {milliseconds(found.p99_ms)}, {found.failed:.1%} failed"
        console.print(f"{rate:8,.0f}/s  {found.verdict}  {words}", highlight=False)
        return found

    found = search(measure, start, ceiling, precision, max(start / 64, LEAST_REQUESTS / step))
    if found.rate is None and found.ended == "generator":
        common.believe(found.pressure)
    facts = ({"objective": f"p99 {p99:g} ms", **common.setting([target], common.pattern)}, told)
    title = f"Capacity of {target.name}"
    result = {**plain(found, subject), "p99_objective_ms": p99, "monotone": found.monotone}
    deliver(common, result, _table(found, p99), title, capacity_page(title, about, found, p99, *facts), about)
    if found.rate is None:
        raise Missed(
            f"no rate held p99 {p99:g} ms: the lowest tried was {min(step.rate for step in found.steps):.3g}/s"
        )


def _step(
    common: Common, target: Target, work: Workload, rate: float, seconds: float, p99: float, errors: float
) -> Step:
    patient = dataclasses.replace(common, timeout=min(common.timeout, max(1.0, PATIENCE * p99 / 1000), TIMEOUT_S))
    seconds += common.warmup
    with watched(f"{target.name}, {rate:,.0f} requests a second", seconds) as watch:
        recording, pressure = patient.sent(target, patient.plan(work, rate, seconds), watch)
    report = measured(recording, pressure, rate, seconds, common.warmup)
    require_answers(report, target, work)
    latency, due = report.latency, report.requests / max(report.seconds, 1e-9)
    kept_up = report.answered_rate >= LEAST_SHARE * due * (1 - report.failed)
    limited = pressure.saturated is not None and not common.force
    held = not limited and report.holds(p99) and report.failed <= errors and kept_up
    times = (latency.p50_ms, latency.p99_ms)
    return Step(rate, report.answered_rate, *times, report.failed, held, pressure, limited, report.resent)


def _table(found: Capacity, p99: float) -> Table:
    table = grid("rate", "answered", "p50", "p99", "failed", "")
    for step in sorted(found.steps, key=lambda each: each.rate):
        times = (milliseconds(step.p50_ms), milliseconds(step.p99_ms))
        failed = f"{step.failed:.1%}"
        table.add_row(f"{step.rate:,.0f}/s", f"{step.answered_rate:,.0f}/s", *times, failed, step.verdict)
    words = [f"Capacity at p99 {p99:g} ms: {found.words}."]
    if found.ended == "ceiling":
        words.append("The ceiling held: raise --ceiling.")
    if not found.monotone:
        words.append("Not monotone: a rate held above one that did not. Take longer steps, or a quieter machine.")
    if resent := sum(step.resent for step in found.steps):
        words.append(f"{resent_text(resent)}.")
    words.append(f"Load generator: {pressure_text(found.pressure)}.")
    table.caption, table.caption_justify = " ".join(words), "left"
    return table
