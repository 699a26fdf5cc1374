"""`python -m benchmarks.profile`: what a server on one core does with its time while it is kept busy, by function."""

import pstats
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from benchmarks.context import ROOT
from loadtest.client import Plan, address_of, drive
from loadtest.pictures import open_pictures
from loadtest.target import BODIES, Target
from loadtest.workload import workload
from runtime.cli import bundles_option, open_bundle
from runtime.errors import EmpirError


@click.command()
@click.argument("bundle", default="mnist-empir")
@bundles_option
@click.option("--body", type=click.Choice(BODIES), default="oip-binary", show_default=True, help="How images are sent.")
@click.option("--mode", type=click.Choice(["full", "quorum"]), default="full", show_default=True, help="Of the vote.")
@click.option("--connections", "-c", type=click.IntRange(1, 1024), default=16, show_default=True, help="Kept busy.")
@click.option("--seconds", type=click.FloatRange(0.1), default=3.0, show_default=True, help="Of load.")
@click.option("--lines", type=click.IntRange(1), default=30, show_default=True, help="Functions to print.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the profile, for snakeviz and such.")
def main(
    bundle: str, bundles: Path, body: str, mode: str, connections: int, seconds: float, lines: int, out: Path | None
) -> None:
    """Profile a server of BUNDLE on one core under a closed loop, and print its functions, the costliest first.

    On one core small ensembles run on the event loop, which is the thread that is profiled. The profiler itself slows
    Python down, and ONNX Runtime not at all: shares tell where to look, not what there is to gain.

    \b
    Examples:
      python -m benchmarks.profile
      python -m benchmarks.profile --body png --mode quorum --lines 50
    """
    try:
        open_bundle(bundles, bundle)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        profile = out or Path(folder) / "profile"
        with _profiled(profile, bundles, bundle) as url:
            target = Target.read(f"{url}#{body}", "oip-binary")
            work = workload(target, open_pictures(()), mode, bundle)
            recording, _ = drive(address_of(target.parts), Plan(work.stream(0), seconds, connections))
        click.echo(f"{len(recording):,} requests: {recording.outcomes()}")
        pstats.Stats(str(profile)).strip_dirs().sort_stats("tottime").print_stats(lines)


@contextmanager
def _profiled(profile: Path, bundles: Path, default: str) -> Iterator[str]:
    """The address of a server that is profiled until the block ends; Ctrl-C is what lets it write its profile."""
    command = [sys.executable, "-m", "benchmarks.profiled", str(profile.absolute()), str(bundles.absolute()), default]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            if not (url := process.stdout.readline().strip()):
                raise click.ClickException("the server did not start; `empir serve` says why")
            yield url
        finally:
            process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
