"""What a layer takes in each of the exact ways to write it: the table that export goes by."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.context import Context
from benchmarks.figure import Figure
from export.graphs import few_bits, few_channels, integer_layers
from export.graphs.graph import Shape
from export.graphs.integer_graph import member_graph
from models.folding import freeze
from models.networks import cifar_conv, mnist_conv, resnet20, small_cnn
from models.precision import Precision
from runtime.sessions import open_session

Floats = NDArray[np.float32]

ROUNDS = 100
REPEATS = 3
WORST = 1.05
"""Of the way that export chooses over the other: noise apart, never slower."""
MEMBERS: tuple[tuple[Callable[[Precision], nn.Sequential], str, Shape], ...] = (
    (mnist_conv, "w2a4", (1, 28, 28)),
    (cifar_conv, "w2a2", (3, 32, 32)),
    (small_cnn, "w4a4", (1, 28, 28)),
    (resnet20, "w4a4", (3, 32, 32)),
)


def kernels(_: Context) -> list[Figure]:
    """Members with random weights, one image, one thread: CPU time as exported over that of the other ways."""
    return [figure for build, precision, shape in MEMBERS for figure in _of_member(build, precision, shape)]


def _of_member(build: Callable[[Precision], nn.Sequential], precision: str, shape: Shape) -> Iterator[Figure]:
    torch.manual_seed(0)
    network = freeze(build(Precision.parse(precision)).eval())
    image = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    graphs = {way: _graph(network, shape, way) for way in WAYS}
    others = [way for way, graph in graphs.items() if graph != graphs[EXPORTED]]
    answers = {way: _answering(graphs[way], shape, image, way) for way in (EXPORTED, *others)}
    times, expected = _shortest_us(answers), answers[EXPORTED]()
    for way in others:
        same = bool(np.array_equal(answers[way](), expected))
        ratio = times[EXPORTED] / times[way]
        text = f"{ratio:.2f}: {times[EXPORTED]:.0f} us over {times[way]:.0f} us" if same else "other logits"
        what = f"{build.__name__} {precision} as exported, over {way}"
        yield Figure(what, f"at most {WORST}", text, same and ratio <= WORST)


EXPORTED = "as exported"
WAYS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    EXPORTED: nullcontext,
    "channels as they are": partial(patch.object, few_channels, "fits", lambda layer: False),
    "clipped, then pooled": partial(patch.object, integer_layers, "unclipped", lambda layer: layer),
    "linear layers in few bits": partial(patch.object, few_bits, "FEWEST_WEIGHTS", 1 << 17),
}
"""How to export in each way."""


def _graph(network: nn.Sequential, shape: Shape, way: str) -> bytes:
    with WAYS[way]():
        return bytes(member_graph(network, shape, "member").SerializeToString())


def _answering(graph: bytes, shape: Shape, image: Floats, way: str) -> Callable[[], Floats]:
    session = open_session(graph, way, {"image": list(shape)}, {"logits": [10]})

    def answer() -> Floats:
        logits: Floats = session.run(("logits",), {"image": image})[0]
        return logits

    return answer


def _shortest_us(answers: dict[str, Callable[[], Floats]]) -> dict[str, float]:
    """Of many short runs, each way in turn: what disturbs one run only makes it longer."""
    times: dict[str, list[int]] = {way: [] for way in answers}
    for _ in range(ROUNDS):
        for way, answer in answers.items():
            start = time.thread_time_ns()
            for _ in range(REPEATS):
                answer()
            times[way].append(time.thread_time_ns() - start)
    return {way: min(taken) / REPEATS / 1000 for way, taken in times.items()}
