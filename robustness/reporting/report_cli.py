"""Command line of the report's page: `empir report`."""

from pathlib import Path

import click

from robustness.cli import main
from robustness.reporting.report import REPORT
from robustness.reporting.report_html import write_page
from runtime.errors import EmpirError, described

__all__ = ["main", "report"]


@main.command("report")
@click.argument("file", type=click.Path(path_type=Path))
def report(file: Path) -> None:
    """Write the page of FILE, a report.json or the folder that holds it, beside it: report.html.

    `empir evaluate` does so itself; this draws the page of an older report again.

    \b
    Examples:
      empir report reports/mnist-empir-adaptive/report.json
    """
    try:
        click.echo(f"written to {write_page(file / REPORT if file.is_dir() else file)}")
    except (EmpirError, OSError) as error:
        raise click.ClickException(described(error)) from error
