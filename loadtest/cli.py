"""Command line of loadtest: `empir load`."""

import dataclasses
import json
import mimetypes
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from loadtest.arrivals import Pattern, arrivals
from loadtest.client import Plan, send
from loadtest.report import Report, summarize

SAMPLES = Path(__file__).parent.parent / "samples"


@click.group()
def main() -> None:
    """Put a server under load."""


@main.command()
@click.argument("url", default="http://127.0.0.1:8000")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=100, show_default=True, help="Requests a second."
)
@click.option("--duration", type=click.FloatRange(0, min_open=True), default=10, show_default=True, help="Seconds.")
@click.option(
    "--connections", type=click.IntRange(1, 256), default=16, show_default=True, help="Connections kept open."
)
@click.option("--pattern", type=click.Choice(["constant", "poisson"]), default="poisson", show_default=True)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Pictures to send in turn. [samples/*.png]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the arrivals.")
@click.option("--json", "as_json", is_flag=True, help="The report, for machines.")
def run(
    url: str,
    rate: float,
    duration: float,
    connections: int,
    pattern: Pattern,
    images: tuple[Path, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Send real digits to the server at URL, open loop, and report latency from the moment each request was due.

    A URL without a path means its /predict.

    \b
    Examples:
      empir load run --rate 200 --duration 10 http://127.0.0.1:8000
      empir load run 'http://127.0.0.1:8000/predict?mode=quorum' --json
    """
    if not url.startswith("http://"):
        raise click.UsageError(f"URL: expected http://HOST:PORT, got {url}")
    pictures = images or tuple(sorted(SAMPLES.glob("*.png")))
    if not pictures:
        raise click.UsageError(f"--image: expected a picture to send; there is none in {SAMPLES}")
    kind = mimetypes.guess_type(pictures[0])[0] or "application/octet-stream"
    plan = Plan(arrivals(rate, duration, pattern, seed), [path.read_bytes() for path in pictures])
    with Console(stderr=True).status(f"{rate:g} requests a second for {duration:g} s to {url}"):
        report = summarize(send(url, plan, connections, kind), rate)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report)))
    else:
        Console().print(_table(report))
    if "200" not in report.outcomes:
        answered = any(outcome.isdigit() for outcome in report.outcomes)
        hint = "every request was refused; see the outcomes" if answered else "no answer; is the server running?"
        raise click.ClickException(f"{url}: {hint}")


def _table(report: Report) -> Table:
    table = Table("", "", show_header=False, box=None)
    table.add_row("requests", f"{report.requests:,}")
    table.add_row("offered, answered", f"{report.offered_rate:,.0f}/s, {report.answered_rate:,.0f}/s")
    table.add_row("outcomes", ", ".join(f"{outcome}: {n:,}" for outcome, n in report.outcomes.items()))
    percentiles = f"{report.p50_ms}, {report.p90_ms}, {report.p99_ms}, {report.p999_ms}, {report.max_ms} ms"
    table.add_row("p50, p90, p99, p99.9, max", percentiles)
    if report.saturated:
        table.add_row("[yellow]saturated[/]", "requests waited for a connection: lower --rate, or raise --connections")
    return table
