"""`python -m benchmarks [NAME ...]`: print the figures, each beside what is promised."""

import os
import platform
import sys
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import accuracy, agreement, size
from benchmarks.context import Context
from benchmarks.halving import halving
from benchmarks.kernels import kernels
from benchmarks.probe import probes
from benchmarks.quorum import quorum
from benchmarks.server import added, memory, start
from benchmarks.throughput import throughput

BENCHMARKS = {
    "accuracy": accuracy,
    "agreement": agreement,
    "size": size,
    "quorum": quorum,
    "start": start,
    "memory": memory,
    "added": added,
    "probe": probes,
    "halving": halving,
    "kernels": kernels,
    "throughput": throughput,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--data-dir", type=click.Path(path_type=Path), envvar="EMPIR_DATA_DIR", help="Where MNIST is, or goes.")
def main(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Measure the figures NAMES, or all of them, on this machine. Exits with 1 if a promise does not hold."""
    context = Context(data_dir)
    console = Console()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    title = f"{_processor()}, {cores} cores, Python {platform.python_version()}; seed 0"
    table = Table("figure", "promised", "measured: median (range)", "", title=title, box=box.SIMPLE)
    kept = True
    for name in names or BENCHMARKS:
        with console.status(f"Measuring {name}"):
            figures = BENCHMARKS[name](context)
        for figure in figures:
            kept &= figure.good
            table.add_row(
                figure.what, figure.promised, figure.measured, "[green]yes[/]" if figure.good else "[red]no[/]"
            )
    console.print(table)
    sys.exit(0 if kept else 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
