"""`python -m benchmarks [NAME ...]`: print the figures, each beside what is promised."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import accuracy, agreement, size
from benchmarks.batching import batching
from benchmarks.context import Context
from benchmarks.cost import cost
from benchmarks.figure import Figure
from benchmarks.first_answer import first_answer
from benchmarks.halving import halving
from benchmarks.kernels import kernels
from benchmarks.probe import probes
from benchmarks.server import start
from benchmarks.serving.table import serving
from benchmarks.throughput import throughput


class Benchmark(NamedTuple):
    """What measures some figures, and which they are, in a line."""

    measure: Callable[[Context], list[Figure]]
    what: str


BENCHMARKS = {
    "accuracy": Benchmark(accuracy, "clean accuracy of the served graphs, in both modes"),
    "agreement": Benchmark(agreement, "how well the served graphs agree with PyTorch"),
    "size": Benchmark(size, "the largest file of a low-precision member"),
    "cost": Benchmark(cost, "CPU time of both modes over the full-precision member's"),
    "first": Benchmark(first_answer, "seconds from a fresh clone to its first answer, without downloads"),
    "start": Benchmark(start, "seconds until a server is ready"),
    "serving": Benchmark(
        serving, "rates, latencies and memory of a server, over its limits and a handler written by hand"
    ),
    "batching": Benchmark(batching, "what batches gain for AlexNet when requests wait"),
    "probe": Benchmark(probes, "how long an adaptive PGD-40 on one digit takes"),
    "halving": Benchmark(halving, "what halving an attack's trajectories costs in strength"),
    "kernels": Benchmark(kernels, "each exact way to write a member's layers"),
    "throughput": Benchmark(throughput, "adaptive PGD-40 on gradient graphs over the same in PyTorch"),
}
NAMES = "\n".join(f"  {name:<11} {each.what}" for name, each in BENCHMARKS.items())


@click.command(epilog=f"\b\nFigures:\n{NAMES}")
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)), metavar="[NAME]...")
@click.option("--data-dir", type=click.Path(path_type=Path), envvar="EMPIR_DATA_DIR", help="Where MNIST is, or goes.")
def main(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Measure figures of the ready-made bundles on this machine, all or those of each NAME.

    Each stands beside what is promised; exits with 1 if a promise does not hold.

    \b
    Examples:
      python -m benchmarks
      python -m benchmarks size cost
    """
    context = Context(data_dir)
    console = Console()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    title = f"{_processor()}, {cores} cores, Python {platform.python_version()}; seed 0"
    table = Table("figure", "promised", "measured: median (range)", "", title=title, box=box.SIMPLE)
    kept = True
    for name in names or BENCHMARKS:
        with console.status(f"Measuring {name}"):
            figures = BENCHMARKS[name].measure(context)
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
