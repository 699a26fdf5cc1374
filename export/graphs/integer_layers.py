"""Member graphs' rules for layers that compute on integer levels, held as uint8."""

from copy import copy

import numpy as np
from onnx import TensorProto

from export.graphs.few_bits import exact_product, fits
from export.graphs.geometry import window_of
from export.graphs.graph import GraphBuilder
from export.graphs.products import (
    Stored,
    as_floats,
    covering,
    exact_sums,
    integer_product,
    level_limits,
    out_shape,
    zero_point,
)
from models.integer import Dequantize, IntegerAvgPool2d, IntegerConv2d, IntegerLinear, Output, QuantizeInput
from models.quantizers import top_level


def quantize_input(layer: QuantizeInput, graph: GraphBuilder, x: str) -> str:
    """Floats of any shape, clipped to [0, 1], as levels 0..2^bits - 1 in uint8."""
    # QuantizeLinear's division by 1/n rounds elsewhere than torch's x * n. It saturates at 0 and 255: what is beyond n
    # is clipped as levels, of which there is a quarter of the bytes.
    scaled = graph.node("Mul", x, graph.constant(top_level(layer.bits), np.float32), shape=graph.shape_of(x))
    return _requantized(graph, scaled, Output(layer.bits))


def dequantize(layer: Dequantize, graph: GraphBuilder, x: str) -> str:
    """Levels of any shape as the floats that they stand for."""
    scale, zero = graph.parameter("scale", layer.scale.numpy()), graph.constant(graph.zero_point_of(x) or 0, np.uint8)
    return graph.node("DequantizeLinear", x, scale, zero, shape=graph.shape_of(x))


def product(layer: IntegerConv2d | IntegerLinear, graph: GraphBuilder, x: str) -> str:
    """A convolution or linear layer over levels, to levels uint8 or to floats: by the quickest kernel that is exact."""
    if isinstance(layer, IntegerLinear) and fits(layer, graph.ways.few_bits_from):
        factor = graph.parameter("multiplier", layer.multiplier.numpy())
        values = graph.node("Mul", exact_product(layer, graph, x), factor, shape=(layer.weight.shape[0],))
        return _requantized(graph, values, layer.output)
    stored = Stored.of(layer, graph)
    if layer.weight_bits > 8:
        return _by_floats(stored, graph, x)
    if layer.output.bits is not None:
        zero = zero_point(layer.output)
        return within(graph, integer_product(stored, graph, x, zero), layer.output)
    if covering(layer, graph.shape_of(x)):
        return integer_product(stored, graph, x, None)
    # No integer kernel gives more than 8 bits, but ConvInteger, which is 20 times slower.
    return _by_floats(stored, graph, x)


def _by_floats(stored: Stored, graph: GraphBuilder, x: str) -> str:
    """Exact sums in float32, times the multiplier; levels are unsigned."""
    multiplier = stored.per_channel(graph, stored.multiplier, 4)
    shape = out_shape(stored.layer, graph.shape_of(x))
    values = graph.node("Mul", exact_sums(stored, graph, x), multiplier, shape=shape)
    return _requantized(graph, values, stored.layer.output)


def _requantized(graph: GraphBuilder, values: str, output: Output) -> str:
    """Floats as levels of `output`, unsigned, rounded half to even; or as they are."""
    if output.bits is None:
        return values
    one, zero = graph.constant(1, np.float32), graph.constant(0, np.uint8)
    levels = graph.node("QuantizeLinear", values, one, zero, shape=graph.shape_of(values), zero_point=0)
    return within(graph, levels, output)


def unclipped(layer: IntegerConv2d) -> IntegerConv2d:
    """The layer before a max pool, its levels clipped only by what uint8 holds: `within` then clips what is pooled.

    The same levels, since both are monotone, and fewer to clip. A Clip in between would also keep ONNX Runtime from
    pooling with channels last, as its int8 convolutions have them: two to four times as fast.
    """
    if layer.output.bits is None:
        return layer
    copied = copy(layer)
    copied.output = layer.output._replace(bits=8)
    return copied


def within(graph: GraphBuilder, y: str, output: Output) -> str:
    """Levels uint8 clipped to those of `output`: kernels saturate at 0 and 255."""
    if output.bits in (None, 8):
        return y
    zero = graph.zero_point_of(y) or 0
    return graph.node("Clip", y, *level_limits(graph, output, zero), shape=graph.shape_of(y), zero_point=zero)


def average_pool(layer: IntegerAvgPool2d, graph: GraphBuilder, x: str) -> str:
    """A depthwise convolution with ones, or, where floats are wanted, a float average."""
    window, shape = window_of(layer), graph.shape_of(x)
    out = (shape[0], *window.counts(shape))
    multiplier = layer.multiplier.numpy()
    if layer.output.bits is None:
        sums = window_sums(layer, graph, as_floats(graph, x))
        factor = graph.parameter("multiplier", multiplier)
        if multiplier.ndim:
            factor = graph.node("Reshape", factor, graph.constant([-1, 1, 1], np.int64))
        return graph.node("Mul", sums, factor, shape=out)
    return within(graph, pooled_by_kernel(layer, graph, x, graph.parameter("multiplier", multiplier)), layer.output)


def pooled_by_kernel(layer: IntegerAvgPool2d, graph: GraphBuilder, x: str, multiplier: str) -> str:
    """round(sums x multiplier) as uint8, saturating at 255."""
    window, shape = window_of(layer), graph.shape_of(x)
    one, x_zero, zero = (
        graph.constant(v, t) for v, t in ((1, np.float32), (graph.zero_point_of(x) or 0, np.uint8), (0, np.uint8))
    )
    w_zero = graph.constant(np.zeros(layer.multiplier.shape), np.int8, shared=False)
    ones = graph.constant(np.ones((shape[0], 1, window.kernel, window.kernel)), np.int8, shared=False)
    return graph.node(
        "QLinearConv", x, one, x_zero, ones, multiplier, w_zero, one, zero,
        shape=(shape[0], *window.counts(shape)), zero_point=0, strides=[window.stride] * 2, group=shape[0],
    )  # fmt: skip


def window_sums(layer: IntegerAvgPool2d, graph: GraphBuilder, x: str) -> str:
    """The sum of each window of levels held as floats; exact."""
    window, shape = window_of(layer), graph.shape_of(x)
    ones = graph.constant(np.ones((shape[0], 1, window.kernel, window.kernel)), np.int8)
    floats = graph.node("Cast", ones, to=TensorProto.FLOAT)
    out = (shape[0], *window.counts(shape))
    sums = graph.node("Conv", x, floats, strides=[window.stride] * 2, group=shape[0])
    # ONNX Runtime would fold the multiplier into the ones, and the sums would be rounded.
    return graph.node("Reshape", sums, graph.constant([-1, *out], np.int64), shape=out)
