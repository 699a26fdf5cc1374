"""`empir load compare`: several servers side by side in one run."""

import dataclasses

import click
from rich.console import Console
from rich.table import Table

from loadtest.commands.options import (
    POSITIVE,
    Common,
    common_options,
    provenance,
    read_target,
)
from loadtest.commands.output import deliver, grid, plain, pressure_text, resent_text
from loadtest.commands.run import measured, require_answers
from loadtest.comparison import Round, Row, compare, schedule
from loadtest.latency import milliseconds
from loadtest.page.sections import compare_page
from loadtest.pressure import Pressure, worst
from loadtest.subject import named, read_subject
from loadtest.target import Target
from loadtest.workload import Workload


@click.command("compare")
@click.argument("urls", nargs=-1, required=True)
@click.option(
    "--rounds", type=click.IntRange(2), default=10, show_default=True, help="Rounds; in each every server once."
)
@click.option("--duration", type=POSITIVE, default=1.0, show_default=True, help="Seconds measured in a round.")
@click.option("--rate", type=POSITIVE, help="Open loop with this rate. [closed loop]")
@common_options(warmup=0.25)
def compare_servers(urls: tuple[str, ...], rounds: int, duration: float, rate: float | None, common: Common) -> None:
    """Alternate between the servers at URLS in short rounds, in random order, and print ratios over the first.

    Each is [NAME=]URL[#BODY]; routes, bodies and ?mode= may differ, the images are the same. What the machine does
    meanwhile hits all of a round alike; the intervals are 95% bootstraps over the rounds.

    \b
    Examples:
      empir load compare fastapi=http://127.0.0.1:9001 empir=http://127.0.0.1:8000
      empir load compare 'full=http://127.0.0.1:8000#oip-binary' 'quorum=http://127.0.0.1:8000?mode=quorum#oip-binary'
      empir load compare mosec=http://127.0.0.1:9712/inference#raw http://127.0.0.1:8000 -c 16 --rounds 20
    """
    if len(urls) < 2:
        raise click.UsageError(f"URLS: expected two or more to compare, got {urls[0]}")
    targets = [read_target(url, common) for url in urls]
    if len({target.name for target in targets}) < len(targets):
        raise click.UsageError("URLS: expected different ones; give the same URL names, as in a=URL b=URL")
    works, told = [common.work(target) for target in targets], provenance()
    subjects = {target.name: read_subject(target, common.bundle) for target in targets}
    about = named(subjects)
    done: list[list[Round]] = []
    pressures: list[Pressure] = []
    with Console(stderr=True).status("") as status:
        for number, order in enumerate(schedule(len(targets), rounds, common.seed), 1):
            status.update(f"round {number} of {rounds}")
            row = {index: _round(common, targets[index], works[index], rate, duration, number) for index in order}
            done.append([row[index][0] for index in range(len(targets))])
            pressures += [pressure for _, pressure in row.values()]
    overall = worst(pressures)
    common.believe(overall)
    rows = compare([target.name for target in targets], done, common.seed)
    title = f"{len(targets)} servers side by side"
    page = compare_page(
        title,
        about,
        rows,
        overall,
        {**common.setting(targets, common.loop(rate)), "rounds": f"{rounds} of {duration:g} s"},
        told,
    )
    servers = [plain(row, subjects[row.name]) for row in rows]
    result = {"servers": servers, "pressure": dataclasses.asdict(overall)}
    deliver(common, result, _table(rows, overall), title, page, about)


def _round(
    common: Common, target: Target, work: Workload, rate: float | None, duration: float, number: int
) -> tuple[Round, Pressure]:
    seconds = duration + common.warmup
    recording, pressure = common.sent(target, common.plan(work, rate, seconds, number))
    report = measured(recording, pressure, rate, seconds, common.warmup)
    require_answers(report, target, work)
    latency = report.latency
    return Round(report.answered_rate, latency.p50_ms, latency.p99_ms, report.failed, report.resent), pressure


def _table(rows: list[Row], overall: Pressure) -> Table:
    ratios_over = ("rate, ratio", "p50, ratio")
    table = grid("server", "answered", "p50", "p99", "failed", *ratios_over, long=ratios_over)
    for row in rows:
        times = (milliseconds(row.p50_ms), milliseconds(row.p99_ms))
        ratios = (str(row.rate_ratio or "none"), str(row.p50_ratio or "none"))
        table.add_row(row.name, f"{row.answered_rate:,.0f}/s", *times, f"{row.failed:.1%}", *ratios)
    words = f"Medians over the rounds; ratios over {rows[0].name}, with 95% intervals."
    words += "".join(f" {row.name}: {resent_text(row.resent)}." for row in rows if row.resent)
    table.caption, table.caption_justify = f"{words} Load generator: {pressure_text(overall)}.", "left"
    return table
