"""What a member takes in each of the exact ways to write its layers: the table that export goes by."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.context import Context
from benchmarks.figure import Figure
from export.graphs.graph import Shape
from export.graphs.integer_graph import member_graph
from export.graphs.ways import EXPORTED, OTHERS
from export.measured.shortest import shortest_us
from models.folding import freeze
from models.networks import cifar_conv, mnist_conv, resnet20, small_cnn
from models.precision import Precision
from runtime.sessions import open_session

Floats = NDArray[np.float32]

CHOSEN = "as exported"
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
    ways = {CHOSEN: EXPORTED, **OTHERS}
    graphs = {way: member_graph(network, shape, "member", ways[way]).SerializeToString() for way in ways}
    others = [way for way, graph in graphs.items() if graph != graphs[CHOSEN]]
    answers = {way: _answering(graphs[way], shape, image, way) for way in (CHOSEN, *others)}
    times, expected = shortest_us(answers), answers[CHOSEN]()
    for way in others:
        same = bool(np.array_equal(answers[way](), expected))
        ratio = times[CHOSEN] / times[way]
        text = f"{ratio:.2f}: {times[CHOSEN]:.0f} us over {times[way]:.0f} us" if same else "other logits"
        what = f"{build.__name__} {precision} {CHOSEN}, over {way}"
        yield Figure(what, f"at most {WORST}", text, same and ratio <= WORST)


def _answering(graph: bytes, shape: Shape, image: Floats, way: str) -> Callable[[], Floats]:
    session = open_session(graph, way, {"image": list(shape)}, {"logits": [10]})
    return partial(_logits, session, image)


def _logits(session: ort.InferenceSession, image: Floats) -> Floats:
    logits: Floats = session.run(("logits",), {"image": image})[0]
    return logits
