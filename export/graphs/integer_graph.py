"""Member graphs: a frozen network as ONNX, image in, logits out, with integer kernels where it is quantized."""

from functools import singledispatch

import numpy as np
import onnx
from torch import nn

from export.graphs import float_layers, integer_layers
from export.graphs.graph import CONTRIB, GraphBuilder, Shape
from export.graphs.ways import EXPORTED, Ways
from models.integer import (
    Dequantize,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerLinear,
    IntegerResidual,
    Output,
    QuantizeInput,
)
from models.residual import Residual


def member_graph(
    network: nn.Sequential, image_shape: Shape, name: str, ways: Ways = EXPORTED, only: str | None = None
) -> onnx.ModelProto:
    """The member graph of a frozen network: `image` float32 [N, *image_shape] in [0, 1] to `logits` [N, K].

    `only`: the path of the one layer that is written in these `ways`, the others as usual. Raises
    TypeError for a layer without a rule.
    """
    graph = GraphBuilder(ways, only)
    image = graph.input("image", image_shape)
    value = emit(network, graph, image)
    graph.output(value, "logits", graph.shape_of(value))
    return graph.build(name)


@singledispatch
def emit(layer: nn.Module, graph: GraphBuilder, x: str) -> str:
    """Add a layer to the graph; `x` is its input, the result its output. One rule for each kind of layer."""
    raise TypeError(f"no rule to export {type(layer).__name__} to a member graph")


emit.register(nn.Conv2d, float_layers.convolution)
emit.register(nn.Linear, float_layers.linear)
emit.register(nn.ReLU, float_layers.relu)
emit.register(nn.Hardtanh, float_layers.hardtanh)
emit.register(nn.Flatten, float_layers.flatten)
emit.register(nn.MaxPool2d, float_layers.max_pool)
emit.register(nn.AvgPool2d, float_layers.average_pool)
emit.register(nn.AdaptiveAvgPool2d, float_layers.global_average_pool)
emit.register(QuantizeInput, integer_layers.quantize_input)
emit.register(Dequantize, integer_layers.dequantize)
emit.register(IntegerConv2d, integer_layers.product)
emit.register(IntegerLinear, integer_layers.product)
emit.register(IntegerAvgPool2d, integer_layers.average_pool)


@emit.register
def _(network: nn.Sequential, graph: GraphBuilder, x: str) -> str:
    clipped_later: Output | None = None
    for index, layer in enumerate(network):
        after = network[index + 1] if index + 1 < len(network) else None
        with graph.inside(str(index)):
            if graph.ways.pooled_first and isinstance(layer, IntegerConv2d) and isinstance(after, nn.MaxPool2d):
                x, clipped_later = emit(integer_layers.unclipped(layer), graph, x), layer.output
            else:
                x = emit(layer, graph, x)
        if isinstance(layer, nn.MaxPool2d) and clipped_later is not None:
            x, clipped_later = integer_layers.within(graph, x, clipped_later), None
    return x


@emit.register
def _(layer: Residual, graph: GraphBuilder, x: str) -> str:
    branch, shortcut = _both(layer, graph, x)
    return graph.node("Relu", graph.node("Add", branch, shortcut), shape=graph.shape_of(branch))


@emit.register
def _(layer: IntegerResidual, graph: GraphBuilder, x: str) -> str:
    """QLinearAdd = round((a + b) / unit): exact, because the unit is a power of two."""
    branch, shortcut = _both(layer, graph, x)
    one, unit, zero = graph.constant(1, np.float32), graph.constant(layer.unit, np.float32), graph.constant(0, np.uint8)
    scales = (one, one if len(layer.shortcut) else unit)
    terms = [
        (value, scale, graph.constant(graph.zero_point_of(value) or 0, np.uint8))
        for value, scale in zip((branch, shortcut), scales, strict=True)
    ]
    shape = graph.shape_of(branch)
    added = graph.node("QLinearAdd", *terms[0], *terms[1], unit, zero, domain=CONTRIB, shape=shape, zero_point=0)
    return integer_layers.within(graph, added, Output(layer.bits))


def _both(layer: Residual | IntegerResidual, graph: GraphBuilder, x: str) -> tuple[str, str]:
    """What branch and shortcut give."""
    with graph.inside("branch"):
        branch = emit(layer.branch, graph, x)
    with graph.inside("shortcut"):
        return branch, emit(layer.shortcut, graph, x)
