"""Command line of loadtest: `empir load`."""

import dataclasses
import json
import mimetypes
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from loadtest.arrivals import Pattern, arrivals
from loadtest.client import Plan, run
from loadtest.report import Report, summarize


@click.group()
def main() -> None:
    """Put a server under load."""


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--url", default="http://127.0.0.1:8000/predict", show_default=True, help="Where to send them.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=100, show_default=True, help="Requests a second."
)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10, show_default=True, help="How long.")
@click.option(
    "--connections", type=click.IntRange(1, 256), default=16, show_default=True, help="Connections kept open."
)
@click.option("--pattern", type=click.Choice(["constant", "poisson"]), default="poisson", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the arrivals.")
@click.option("--json", "as_json", is_flag=True, help="The report, for machines.")
def load(
    images: tuple[Path, ...],
    url: str,
    rate: float,
    seconds: float,
    connections: int,
    pattern: Pattern,
    seed: int,
    as_json: bool,
) -> None:
    """Send IMAGES in turn to a running server, open loop, and report latency from the moment each was due.

    \b
    Examples:
      empir load samples/*.png
      empir load samples/*.png --rate 500 --seconds 30 --url 'http://127.0.0.1:8000/predict?mode=quorum'
    """
    kind = mimetypes.guess_type(images[0])[0] or "application/octet-stream"
    plan = Plan(arrivals(rate, seconds, pattern, seed), [path.read_bytes() for path in images])
    console = Console(stderr=True)
    with console.status(f"{rate:g} requests a second for {seconds:g} s to {url}"):
        report = summarize(run(url, plan, connections, kind), rate)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report)))
    else:
        Console().print(_table(report))
    if set(report.statuses) == {0}:
        raise click.ClickException(f"{url}: no answer to any request; is the server running?")


def _table(report: Report) -> Table:
    table = Table("", "", show_header=False, box=None)
    table.add_row("requests", f"{report.requests:,}")
    table.add_row("offered, answered", f"{report.offered_rate:,.0f}/s, {report.answered_rate:,.0f}/s")
    table.add_row("statuses", ", ".join(f"{status or 'none'}: {n:,}" for status, n in sorted(report.statuses.items())))
    table.add_row(
        "latency p50, p90, p99, max", f"{report.p50_ms}, {report.p90_ms}, {report.p99_ms}, {report.max_ms} ms"
    )
    if report.saturated:
        table.add_row("[yellow]saturated[/]", "requests waited for a connection: lower --rate, or raise --connections")
    return table
