"""What batching gains for AlexNet when requests wait: throughput of a server with it over one without."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.context import Context
from benchmarks.cores import pinned, two_sides
from benchmarks.figure import Figure, believed, spread
from benchmarks.server import Running, running
from benchmarks.untrained import write_untrained
from export.data.imagenet_labels import imagenet_labels
from export.training.recipes import IMAGENET_EMPIR
from loadtest.client import Plan, address_of, drive
from loadtest.pictures import open_pictures
from loadtest.report import Report, summarize
from loadtest.target import Target
from loadtest.workload import workload

CONNECTIONS = 16
ROUNDS = 5
SECONDS, WARMUP_S = 4.0, 1.5
LEAST = 1.15


def batching(_: Context) -> list[Figure]:
    """Closed loop, 16 connections, float32 tensors; servers on the first core and the load on the second, if any."""
    servers_on, here = two_sides()
    reports: list[list[Report]] = [[], []]
    with ExitStack() as stack:
        bundles = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_untrained(IMAGENET_EMPIR, tuple(imagenet_labels().values()), bundles / "alexnet")
        with pinned(servers_on):
            servers = [
                stack.enter_context(running(bundles, EMPIR_DEFAULT="alexnet", **more))
                for more in ({"EMPIR_BATCH_IMAGES": "1"}, {})
            ]
        stack.enter_context(pinned(here))
        for _round in range(ROUNDS):
            for found, server in zip(reports, servers, strict=True):
                found.append(_report(server))
    return [gain(*reports)]


def _report(server: Running) -> Report:
    target = Target.read(server.url, "oip-binary")
    requests = workload(target, open_pictures(())).stream(0)
    recording, pressure = drive(address_of(target.parts), Plan(requests, SECONDS + WARMUP_S, CONNECTIONS))
    return summarize(recording, pressure, None, SECONDS + WARMUP_S, WARMUP_S)


def gain(alone: Sequence[Report], batched: Sequence[Report]) -> Figure:
    """Of the same rounds; none where the load generator was the limit."""
    ratios = [more.answered_rate / less.answered_rate for more, less in zip(batched, alone, strict=True)]
    best = max(report.answered_rate for report in batched)
    what = "batching over none, AlexNet, untrained, 16 connections"
    measured = f"{spread(ratios)}; {best:.1f} images/s at best"
    figure = Figure(what, f"at least {LEAST}", measured, median(ratios) >= LEAST)
    return believed(figure, [report.pressure for report in (*alone, *batched)])
