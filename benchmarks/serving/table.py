"""The table of what is served: every row in one run, a server on the first core and this process on the second."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.context import Context
from benchmarks.cores import pinned, two_sides
from benchmarks.figure import Figure
from benchmarks.server import Running, running
from benchmarks.serving.baseline import handwritten
from benchmarks.serving.lasting import memory
from benchmarks.serving.latencies import added, queueing, refusals
from benchmarks.serving.load import Effort, Side
from benchmarks.serving.rates import over_baseline, share, two_workers
from loadtest.pictures import open_pictures, tensor
from runtime.ensemble import Ensemble
from runtime.images import decode_image


def serving(context: Context, effort: Effort | None = None) -> list[Figure]:
    """The one bundle and nothing else, 16 connections unless a row says otherwise; mode full unless it says."""
    effort, everything = effort or Effort(), os.sched_getaffinity(0)
    servers, here = two_sides()
    with ExitStack() as stack:
        bundles = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        name = context.bundle.manifest.name
        shutil.copytree(context.bundle_dir, bundles / name)
        with pinned(servers):
            server = stack.enter_context(running(bundles, EMPIR_DEFAULT=name))
            baseline = stack.enter_context(handwritten(bundles / name))
        with pinned(here):
            figures = list(_alone(context, server, baseline, effort))
        with pinned(everything):
            two = stack.enter_context(running(bundles, EMPIR_DEFAULT=name, EMPIR_WORKERS="2"))
            return [*figures, two_workers(two.url, server.url, effort)]


def _alone(context: Context, server: Running, baseline: str, effort: Effort) -> Iterator[Figure]:
    """The rows of which the server and this process have a core each."""
    ensemble, images = Ensemble.of_bundle(context.bundle), _images(context)
    yield from share(ensemble, images, server.url, context.bundle.manifest.name, effort)
    yield from over_baseline(server.url, baseline, effort)
    tensors, files = Side.of(server.url), Side.of(f"{server.url}#png")
    calls = [partial(ensemble.predict, image[None]) for image in images]
    yield from added("OIP binary", calls, tensors, effort)
    spec = context.bundle.manifest.input
    decoded = [lambda body=body: ensemble.predict(decode_image(body, spec)) for body in context.samples]
    yield from added("PNG", decoded, files, effort)
    yield queueing(tensors, effort)
    yield refusals(tensors, effort)
    yield memory(server.process, [tensors, Side.of(server.url, "quorum"), files], effort)


def _images(context: Context) -> NDArray[np.float32]:
    spec = context.bundle.manifest.input
    return np.concatenate([tensor(each, (spec.channels, spec.height, spec.width)) for each in open_pictures(())])
