"""Command line of the doctor: `empir doctor`."""

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click
import orjson
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.ensemble import usable_cores
from runtime.expectation import expectation
from runtime.sessions import cpuinfo
from service.cli import names_of
from service.doctor import address, bundles, limits, processor, variables
from service.doctor.finding import Finding, Level, fail
from service.settings import Settings

SECRET = frozenset({"admin_key"})
STYLE: dict[Level, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.group()
def main() -> None:
    """Examine a machine."""


@main.command()
@click.option("--host", help="Address that the server is to listen on. [127.0.0.1]")
@click.option("--port", type=int, help="Its port. [8000]")
@click.option("--bundles", help="Folder of its bundles. [bundles]")
@click.option("--default", help="Bundle that answers when a request names none. [mnist]")
@click.option("--json", "as_json", is_flag=True, help="The findings, for machines.")
def doctor(as_json: bool, **flags: Any) -> None:
    """Examine this machine, its settings and its bundles, and say what to do about each finding.

    The flags are those of `empir serve`, and so are the variables EMPIR_*. Exits with 1 if something fails: the server
    would not start, or not answer. What is only slow, or not as one may think, is a warning.

    \b
    Examples:
      empir doctor
      empir doctor --port 9000 --bundles bundles
      empir doctor --json
    """
    given = {name: value for name, value in flags.items() if value is not None}
    findings = examine(given, os.environ)
    healthy = not any(finding.level == "fail" for finding in findings)
    if as_json:
        click.echo(orjson.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}))
    else:
        Console().print(table(findings), soft_wrap=False)
    if not healthy:
        sys.exit(1)


def examine(flags: Mapping[str, Any], environment: Mapping[str, str]) -> list[Finding]:
    """Everything, in the order in which it matters: the machine, its limits, settings, address, bundles."""
    usable, group = usable_cores(), limits.Cgroup.of_process()
    machine = [
        processor.processor(cpuinfo()),
        processor.cores(usable, os.cpu_count() or usable),
        processor.onnx_runtime(),
        limits.processor_time(group.cpus, usable),
        limits.open_files(limits.files_limit()),
    ]
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        return [*machine, *_refused(error), *variables.unknown(environment)]
    found, size = bundles.examined(settings.bundles, settings.default)
    return [
        *machine,
        limits.memory(limits.available_memory(group.memory_bytes), size),
        variables.changed(settings),
        *variables.unknown(environment),
        address.exposure(settings.host),
        address.port(settings.host, settings.port),
        *found,
    ]


def table(findings: list[Finding]) -> Table:
    """A line for each finding, and below it what to do."""
    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for finding in findings:
        words = Text(finding.found)
        if finding.advice:
            words.append(f"\n-> {finding.advice}", style=STYLE[finding.level])
        shown.add_row(Text(finding.level, style=STYLE[finding.level]), finding.topic, words)
    return shown


def _refused(error: ValidationError) -> list[Finding]:
    findings = []
    for each in error.errors():
        name = str(each["loc"][0])
        got = "" if name in SECRET else f", got {each['input']!r}"
        found = f"EMPIR_{name.upper()}: {expectation(each)}{got}"
        findings.append(fail("settings", found, f"Mend or leave out {' or '.join(names_of(name))}"))
    return findings
