"""What batching gains for AlexNet when requests wait: throughput of a server with it over one without."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.context import Context
from benchmarks.figure import Figure, spread
from benchmarks.server import Running, running
from benchmarks.untrained import write_untrained
from export.data.imagenet_labels import imagenet_labels
from export.training.recipes import IMAGENET_EMPIR
from loadtest.client import Plan, address_of, drive
from loadtest.pictures import open_pictures
from loadtest.report import summarize
from loadtest.target import Target
from loadtest.workload import workload

CONNECTIONS = 16
ROUNDS = 5
SECONDS, WARMUP_S = 4.0, 1.5
LEAST = 1.15


def batching(_: Context) -> list[Figure]:
    """Closed loop, 16 connections, float32 tensors; servers on the first core and the load on the others, if any."""
    cores = sorted(os.sched_getaffinity(0))
    rates: list[list[float]] = [[], []]
    with ExitStack() as stack:
        bundles = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_untrained(IMAGENET_EMPIR, tuple(imagenet_labels().values()), bundles / "alexnet")
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores[:1])  # which the servers inherit
        servers = [
            stack.enter_context(running(bundles, EMPIR_DEFAULT="alexnet", **more))
            for more in ({"EMPIR_BATCH_IMAGES": "1"}, {})
        ]
        os.sched_setaffinity(0, cores[1:] or cores)
        for _round in range(ROUNDS):
            for found, server in zip(rates, servers, strict=True):
                found.append(_rate(server))
    return [_figure(*rates)]


def _rate(server: Running) -> float:
    target = Target.read(server.url, "oip-binary")
    requests = workload(target, open_pictures(())).stream(0)
    recording, pressure = drive(address_of(target.parts), Plan(requests, SECONDS + WARMUP_S, CONNECTIONS))
    return summarize(recording, pressure, None, SECONDS + WARMUP_S, WARMUP_S).answered_rate


def _figure(alone: Sequence[float], batched: Sequence[float]) -> Figure:
    ratios = [more / less for more, less in zip(batched, alone, strict=True)]
    gain = sorted(ratios)[len(ratios) // 2]
    what = "batching over none, AlexNet, untrained, 16 connections"
    return Figure(what, f"at least {LEAST}", f"{spread(ratios)}; {max(batched):.1f} images/s at best", gain >= LEAST)
