"""Gradient graphs' rules for layers on integer levels; rounding is straight-through, clips have their own gradients."""

import numpy as np
from onnx import TensorProto

from export.graphs import integer_layers
from export.graphs.backward import Backward, masked, transposed_convolution
from export.graphs.geometry import window_of
from export.graphs.graph import GraphBuilder
from export.graphs.products import (
    Stored,
    as_floats,
    as_levels,
    covering,
    exact_sums,
    integer_product,
    level_limits,
    out_shape,
)
from models.integer import Dequantize, IntegerConv2d, IntegerLinear, QuantizeInput
from models.quantizers import top_level

OFFSET = 64
"""The zero point of levels of up to 7 bits in 8, so that sums below 0 can be told from 0, and those above the top."""


def quantize_input(layer: QuantizeInput, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    n = graph.constant(top_level(layer.bits), np.float32)
    bottom, top = graph.constant(0, np.float32), graph.constant(1, np.float32)
    inside = graph.node("And", graph.node("GreaterOrEqual", x, bottom), graph.node("LessOrEqual", x, top))
    return integer_layers.quantize_input(layer, graph, x), lambda dy: masked(graph, graph.node("Mul", dy, n), inside)


def dequantize(layer: Dequantize, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    scale = graph.parameter("scale", layer.scale.numpy())
    values = graph.node("Mul", as_floats(graph, x), scale, shape=graph.shape_of(x))
    return values, lambda dy: graph.node("Mul", dy, scale)


def product(layer: IntegerConv2d | IntegerLinear, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    stored = Stored.of(layer, graph)
    back = _back(stored, graph, x)
    if by_kernel(layer):
        rounded = integer_product(stored, graph, as_levels(graph, x), OFFSET)
        shape, limits = graph.shape_of(rounded), level_limits(graph, layer.output, OFFSET)
        levels = graph.node("Clip", rounded, *limits, shape=shape, zero_point=OFFSET)
    else:
        values = _values(stored, graph, x)
        if layer.output.bits is None:
            return values, back
        rounded = graph.node("Round", values)
        low, high = (graph.constant(limit, np.float32) for limit in layer.output.range)
        levels = graph.node("Clip", rounded, low, high, shape=graph.shape_of(values))
    inside = graph.node("Equal", rounded, levels)
    return levels, lambda dy: back(masked(graph, dy, inside))


def by_kernel(layer: IntegerConv2d | IntegerLinear) -> bool:
    """Whether 8 bits hold the weights, and what is rounded well beyond the levels: the int8 kernel can be used."""
    bits = layer.output.bits
    return layer.weight_bits <= 8 and bits is not None and bits < 8 and not layer.output.signed


def _values(stored: Stored, graph: GraphBuilder, x: str) -> str:
    """Sums times the multiplier, float32."""
    layer, shape = stored.layer, graph.shape_of(x)
    if covering(layer, shape):
        return integer_product(stored, graph, as_levels(graph, x), None)
    multiplier = stored.per_channel(graph, stored.multiplier, 4)
    return graph.node("Mul", exact_sums(stored, graph, x), multiplier, shape=out_shape(layer, shape))


def _back(stored: Stored, graph: GraphBuilder, x: str) -> Backward:
    """The transpose of the layer, its multiplier taken into the weights."""
    layer, shape = stored.layer, graph.shape_of(x)
    levels = graph.node("Cast", stored.weight, to=TensorProto.FLOAT)
    factor = stored.multiplier
    if layer.multiplier.dim():
        factor = graph.node("Reshape", factor, graph.constant([-1] + [1] * (layer.weight.dim() - 1), np.int64))
    weight = graph.node("Mul", levels, factor)
    if isinstance(layer, IntegerLinear):
        return lambda dy: graph.node("MatMul", dy, weight)
    return transposed_convolution(graph, window_of(layer), shape, weight, layer.weight)
