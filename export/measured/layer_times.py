"""What each layer of a member takes as it is exported, and in the other exact ways to write it."""

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
from models.integer import Dequantize, IntegerConv2d, IntegerLinear, QuantizeInput
from runtime.manifest import LayerTime
from runtime.sessions import open_session

EXPORTED = "as exported"


def layer_times(network: nn.Sequential, image_shape: Shape, member: str, rounds: int = ROUNDS) -> list[LayerTime]:
    """Of each layer of a frozen network that could be written otherwise: one image, one thread.

    Quantizing the image is included, and the max pool behind a convolution.
    """
    rows = []
    for layer, shape, name in _pieces(network, image_shape):
        times = _times(layer, shape, rounds)
        exported = times.pop(EXPORTED)
        if times:
            rows.append(LayerTime(member=member, layer=name, exported_us=exported, others_us=times))
    return rows


def _pieces(network: nn.Sequential, image_shape: Shape) -> Iterator[tuple[nn.Sequential, Shape, str]]:
    """Each product over levels as a network of its own, from floats in [0, 1] of the shape given to floats."""
    values = torch.zeros(1, *image_shape)
    for index, layer in enumerate(network):
        shape = tuple(values.shape[1:])
        with torch.no_grad():
            values = layer(values)
        if isinstance(layer, IntegerConv2d | IntegerLinear):
            pool = _pool_behind(network, index)
            floats = [] if layer.output.bits is None else [Dequantize(torch.tensor(1.0))]
            yield nn.Sequential(QuantizeInput(layer.in_bits), layer, *pool, *floats), shape, _name(layer, shape, pool)


def _pool_behind(network: nn.Sequential, index: int) -> list[nn.Module]:
    """The max pool right behind a convolution, if there is one."""
    if isinstance(network[index], IntegerLinear) or index + 1 == len(network):
        return []
    return [network[index + 1]] if isinstance(network[index + 1], nn.MaxPool2d) else []


def _name(layer: IntegerConv2d | IntegerLinear, shape: Shape, pool: list[nn.Module]) -> str:
    if isinstance(layer, IntegerLinear):
        return f"linear {layer.weight.shape[1]} to {layer.weight.shape[0]}"
    window, over = window_of(layer), " x ".join(map(str, shape))
    kind = f"convolution {window.kernel}x{window.kernel}/{window.stride} {layer.weight.shape[0]} over {over}"
    return f"{kind}, max pool" if pool else kind


def _times(piece: nn.Sequential, shape: Shape, rounds: int) -> dict[str, float]:
    """As exported, and in the ways that make another graph."""
    graphs = {EXPORTED: member_graph(piece, shape, "layer").SerializeToString()}
    for name, way in OTHERS.items():
        graph = member_graph(piece, shape, "layer", way).SerializeToString()
        if graph not in graphs.values():
            graphs[name] = graph
    if len(graphs) == 1:
        return {EXPORTED: 0.0}
    with torch.no_grad():
        out = list(piece(torch.zeros(1, *shape)).shape[1:])
    return shortest_us({name: _running(graph, shape, out, name) for name, graph in graphs.items()}, rounds)


def _running(graph: bytes, shape: Shape, out: list[int], name: str) -> Callable[[], object]:
    session = open_session(graph, name, {"image": list(shape)}, {"logits": out})
    image = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    return partial(session.run, None, {"image": image})
