"""What a command prints: a table for people, JSON for machines, a page."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.commands.options import Common
from loadtest.latency import percentiles
from loadtest.page.markup import Element, page
from loadtest.pressure import Pressure
from loadtest.report import Report
from loadtest.subject import Subject

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def deliver(
    common: Common,
    result: Mapping[str, Any],
    table: Table,
    title: str,
    body: list[Element],
    measured: Mapping[str, str],
) -> None:
    """Print the result, with what was measured in words, and write its page where one is asked for."""
    if common.html is not None:
        try:
            common.html.write_text(page(title, body), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"--html: {common.html}: {error.strerror}") from error
    if common.as_json:
        click.echo(orjson.dumps(result))
    else:
        console = Console()
        for name, words in measured.items():
            console.print(Text(f"{name}: {words}"))
        console.print(table)
        if common.html is not None:
            console.print(f"[dim]{common.html}[/]", highlight=False)


def plain(result: "DataclassInstance", subject: Subject | None) -> dict[str, Any]:
    """A result for machines; with its subject where that is known."""
    known = {} if subject is None else {"subject": dataclasses.asdict(subject)}
    return {**dataclasses.asdict(result), **known}


def summary(report: Report) -> Table:
    """A report on one run."""
    offered = f"{report.offered_rate:,.0f}/s" if report.offered_rate is not None else "as many as are answered"
    table = pairs(
        {
            "requests": f"{report.requests:,} in {report.seconds:g} s",
            "offered, answered": f"{offered}, {report.answered_rate:,.0f}/s",
            "outcomes": outcomes(report.outcomes),
            "p50, p90, p99, p99.9, max": percentiles(report.latency),
        }
    )
    if report.failed:
        words = "were not answered 200: not in these percentiles, and infinitely late where p99 has an objective"
        table.add_row("[yellow]failed[/]", f"{report.failed:.1%} {words}")
    if report.probes.n:
        table.add_row("of probes", percentiles(report.probes))
    if report.resent:
        table.add_row("[yellow]sent again[/]", resent_text(report.resent))
    table.add_row("load generator", pressure_text(report.pressure))
    if report.queued:
        table.add_row("[yellow]queued[/]", "requests waited for a connection: lower --rate, or raise --connections")
    if report.pressure.saturated:
        table.add_row("[red]not to be believed[/]", report.pressure.saturated)
    return table


def pairs(values: Mapping[str, str]) -> Table:
    """Names and values, one a row."""
    table = Table("", "", show_header=False, box=None)
    for name, value in values.items():
        table.add_row(name, value)
    return table


def grid(*heads: str, long: Collection[str] = ()) -> Table:
    """A table with heads, numbers on the right; where it is too wide, the first column and `long` ones take lines."""
    table = Table(box=box.SIMPLE)
    for index, head in enumerate(heads):
        wraps = index == 0 or head in long
        table.add_column(head, justify="right" if index else "left", no_wrap=not wraps, overflow="fold")
    return table


def outcomes(counts: Mapping[str, int]) -> str:
    """`200: 1,234, 429: 5`."""
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"


def resent_text(count: int) -> str:
    """What was done about connections that the server had closed."""
    return f"{count:,} requests were sent once more, because the server had closed their connection"


def pressure_text(pressure: Pressure) -> str:
    """The generator's own state in a line."""
    late = f"{pressure.late_p50_ms:g}, {pressure.late_p99_ms:g} ms"
    return f"{pressure.cpu:.0%} of a core, itself late by {late} (p50, p99)"
