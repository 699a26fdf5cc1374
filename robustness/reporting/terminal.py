"""A report in a terminal: worst case, attacks, members, checks."""

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from robustness.norms import eps_text
from robustness.reporting.page.parts import attack_text
from robustness.reporting.report import SUITE, Report
from robustness.reporting.share import Share


def show(report: Report, out: Path) -> Group:
    """The report for people, and the folder in which it is."""
    head = Text.assemble(
        (f"{report.bundle.name} {report.bundle.version}, {report.suite}, ", "dim"),
        (f"{report.norm} eps {eps_text(report.eps)}, n = {report.images.n}, seed {report.seed}", "dim"),
    )
    lines = [Text(line, "bold red" if line.startswith("Not trustworthy") else "") for line in report.summary]
    tables = [_attacks(report), _members(report)]
    if report.paper is not None:
        tables.append(_paper(report))
    return Group(head, *lines, Text(), *tables, Text(f"written to {out}", "dim"))


def _attacks(report: Report) -> Table:
    table = Table(
        "attack", "tried on", "found", "first", "still right", "s", box=None, header_style="dim", pad_edge=False
    )
    for row in report.attacks:
        if row.purpose in (*SUITE, "claim"):
            still = "" if row.standing is None else f"{row.standing.share:.1%}"
            table.add_row(
                attack_text(row.name), str(row.attacked), str(row.found), str(row.first), still, f"{row.seconds:.1f}"
            )
    return table


def _members(report: Report) -> Table:
    table = Table("", "clean", "worst case", "alone", box=None, header_style="dim", pad_edge=False)
    for row in report.members:
        table.add_row(row.name, _share(row.clean), _share(row.robust), "" if row.own is None else _share(row.own))
    table.add_row("vote", _share(report.clean), _share(report.robust), "", style="bold")
    return table


def _paper(report: Report) -> Table:
    assert report.paper is not None
    table = Table("per cent", *report.paper.columns, box=None, header_style="dim", pad_edge=False)
    for row in report.paper.rows:
        if row.paper is not None:
            table.add_row(f"paper: {row.what}", *(f"{row.paper[name]:.1f}" for name in report.paper.columns))
        ours = (f"{100 * row.ours[name].share:.1f}" for name in report.paper.columns[:-1])
        table.add_row(f"ours: {row.what}", *ours, f"{row.ours_mean:.1f}")
    return table


def _share(share: Share) -> str:
    return f"{share.share:.1%} ({share.low:.1%} to {share.high:.1%})"
