"""What a member takes as it is exported, and with one of its layers in another of the exact ways to write it."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn

from export.graphs.geometry import window_of
from export.graphs.graph import Shape
from export.graphs.integer_graph import member_graph
from export.graphs.ways import OTHERS
from export.measured.shortest import ROUNDS, shortest_us
from models.integer import IntegerConv2d, IntegerLinear
from runtime.manifest import LayerTime
from runtime.sessions import open_session

Product = IntegerConv2d | IntegerLinear
EXPORTED = "as exported"


def layer_times(network: nn.Sequential, image_shape: Shape, member: str, rounds: int = ROUNDS) -> list[LayerTime]:
    """Of each layer of a frozen network that could be written otherwise: one image, one thread.

    The whole member runs each time: how quick a layer is depends on those around it, by what ONNX Runtime joins and
    how it orders values in memory.
    """
    graphs = {(EXPORTED, ""): member_graph(network, image_shape, member).SerializeToString()}
    exported = graphs[EXPORTED, ""]
    layers = list(_products(network, image_shape))
    for path, _ in layers:
        for name, way in OTHERS.items():
            graph = member_graph(network, image_shape, member, way, only=path).SerializeToString()
            if graph != exported:
                graphs[name, path] = graph
    if len(graphs) == 1:
        return []
    with torch.no_grad():
        classes = network(torch.zeros(1, *image_shape)).shape[1]
    times = shortest_us({way: _running(graph, image_shape, classes) for way, graph in graphs.items()}, rounds)
    rows = ((layer, {name: us for (name, at), us in times.items() if at == path}) for path, layer in layers)
    whole = times[EXPORTED, ""]
    return [LayerTime(member=member, layer=layer, exported_us=whole, others_us=us) for layer, us in rows if us]


def _products(network: nn.Sequential, image_shape: Shape) -> Iterator[tuple[str, str]]:
    """Path and description of each layer with integer weights that is not inside a block."""
    values = torch.zeros(1, *image_shape)
    for index, layer in enumerate(network):
        if isinstance(layer, Product):
            pooled = isinstance(layer, IntegerConv2d) and isinstance(network[index + 1], nn.MaxPool2d)
            yield str(index), _described(layer, tuple(values.shape[1:])) + (", max pool" if pooled else "")
        with torch.no_grad():
            values = layer(values)


def _described(layer: Product, shape: Shape) -> str:
    outputs, inputs = layer.weight.shape[:2]
    if isinstance(layer, IntegerLinear):
        return f"linear {inputs} to {outputs}"
    window = window_of(layer)
    return f"convolution {window.kernel}x{window.kernel}/{window.stride} {outputs} over {' x '.join(map(str, shape))}"


def _running(graph: bytes, shape: Shape, classes: int) -> Callable[[], object]:
    session = open_session(graph, "member", {"image": list(shape)}, {"logits": [classes]})
    image = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    return partial(session.run, None, {"image": image})
