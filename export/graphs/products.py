"""Convolutions and linear layers over integer levels as ONNX Runtime's integer kernels, or as exact float sums."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from onnx import TensorProto

from export.graphs import few_channels
from export.graphs.geometry import Window, window_of
from export.graphs.graph import CONTRIB, GraphBuilder, Shape
from export.graphs.packing import packed_levels
from models.integer import IntegerConv2d, IntegerLinear, Output

Product = IntegerConv2d | IntegerLinear
FEWEST_APART = 16
"""Channels of a group from which on each group is a convolution of its own."""
SIGNED_ZERO = 128
"""The zero point of signed levels."""


@dataclass(frozen=True)
class Stored:
    """A layer's tensors in a graph: weight INT8, multiplier float32 [] or [O], bias INT32 [O] or "" for none."""

    layer: Product
    weight: str
    multiplier: str
    bias: str

    @classmethod
    def of(cls, layer: Product, graph: GraphBuilder) -> "Stored":
        """Store them, under the layer's path."""
        bias = "" if layer.bias is None else graph.parameter("bias", layer.bias.numpy().astype(np.int32))
        weight = packed_levels(graph, "weight", layer.weight.numpy(), layer.weight_bits, layer.grid)
        return cls(layer, weight, graph.parameter("multiplier", layer.multiplier.numpy()), bias)

    def per_channel(self, graph: GraphBuilder, value: str, axes: int) -> str:
        """The multiplier or the bias, to broadcast over [N, O, ...] of so many `axes`."""
        if value == self.multiplier and self.layer.multiplier.dim() == 0:
            return value
        return graph.node("Reshape", value, graph.constant([-1] + [1] * (axes - 2), np.int64))


def zero_point(output: Output) -> int:
    return SIGNED_ZERO if output.signed else 0


def level_limits(graph: GraphBuilder, output: Output, zero: int) -> tuple[str, str]:
    """Lowest and highest level as uint8 with this zero point."""
    low, high = output.range
    return graph.constant(zero + low, np.uint8), graph.constant(zero + high, np.uint8)


def out_shape(layer: Product, shape: Shape) -> Shape:
    """The shape that a layer gives for an input of `shape`."""
    filters = layer.weight.shape[0]
    return (filters,) if isinstance(layer, IntegerLinear) else (filters, *window_of(layer).counts(shape))


def covering(layer: Product, shape: Shape) -> bool:
    """Whether the layer is a matrix product."""
    return isinstance(layer, IntegerLinear) or window_of(layer).covers(shape)


def integer_product(stored: Stored, graph: GraphBuilder, x: str, zero: int | None) -> str:
    """round(sums x multiplier) + zero of levels x as uint8, saturating at 0 and 255, or float values if `zero` is None.

    Floats only of a matrix product.
    """
    layer, shape = stored.layer, out_shape(stored.layer, graph.shape_of(x))
    if not covering(layer, graph.shape_of(x)):
        assert zero is not None
        return _convolution(stored, graph, x, zero)
    one, x_zero = graph.constant(1, np.float32), graph.constant(graph.zero_point_of(x) or 0, np.uint8)
    w_zero = weight_zero(graph, layer.multiplier.shape)
    flat, rows = flattened(graph, x), stored.weight
    if isinstance(layer, IntegerConv2d):
        rows = graph.node("Flatten", rows)
    inputs = [flat, one, x_zero, rows, stored.multiplier, w_zero, stored.bias]
    finish = [] if zero is None else [one, graph.constant(zero, np.uint8)]
    flat_shape = shape[:1]
    y = graph.node("QGemm", *inputs, *finish, domain=CONTRIB, transB=1, shape=flat_shape, zero_point=zero)
    return reshaped(graph, y, shape)


def _convolution(stored: Stored, graph: GraphBuilder, x: str, zero: int) -> str:
    """QLinearConv; large groups one by one, because its fastest kernel knows no groups."""
    layer = stored.layer
    assert isinstance(layer, IntegerConv2d)
    if graph.ways.rows_as_channels and few_channels.fits(layer):
        return _over_rows(stored, graph, x, zero)
    shape, parts = graph.shape_of(x), layer.groups
    filters, channels = len(layer.weight) // parts, shape[0] // parts
    apart = parts > 1 and channels >= FEWEST_APART
    window = replace(window_of(layer), groups=1) if apart else window_of(layer)
    one, x_zero = graph.constant(1, np.float32), graph.constant(graph.zero_point_of(x) or 0, np.uint8)
    outputs = []
    for index in range(parts if apart else 1):

        def part(value: str, axis: int, size: int, index: int = index) -> str:
            if not apart:
                return value
            limits = ([index * size], [(index + 1) * size], [axis])
            return graph.node("Slice", value, *(graph.constant(limit, np.int64) for limit in limits))

        multiplier = part(stored.multiplier, 0, filters) if layer.multiplier.dim() else stored.multiplier
        w_zero = weight_zero(graph, (filters if apart else len(layer.weight),) * layer.multiplier.dim())
        bias = [part(stored.bias, 0, filters)] if stored.bias else []
        inputs = (part(x, 1, channels), one, x_zero, part(stored.weight, 0, filters), multiplier, w_zero)
        finish = (one, graph.constant(zero, np.uint8), *bias)
        out = out_shape(layer, shape)
        y = graph.node("QLinearConv", *inputs, *finish, shape=out, zero_point=zero, **window.attributes(shape))
        outputs.append(y)
    return outputs[0] if not apart else graph.node("Concat", *outputs, axis=1, shape=out, zero_point=zero)


def _over_rows(stored: Stored, graph: GraphBuilder, x: str, zero: int) -> str:
    """QLinearConv with the kernel's rows as channels."""
    layer = stored.layer
    assert isinstance(layer, IntegerConv2d)
    one, x_zero = graph.constant(1, np.float32), graph.constant(graph.zero_point_of(x) or 0, np.uint8)
    rows = few_channels.rows_as_channels(layer, graph, x, stored.weight)
    inputs = (rows.x, one, x_zero, rows.weight, stored.multiplier, weight_zero(graph, layer.multiplier.shape))
    finish = (one, graph.constant(zero, np.uint8), *([stored.bias] if stored.bias else []))
    out = out_shape(layer, graph.shape_of(x))
    return graph.node("QLinearConv", *inputs, *finish, shape=out, zero_point=zero, **rows.attributes)


def weight_zero(graph: GraphBuilder, shape: Shape) -> str:
    """Zero points of weights. Not shared: ONNX Runtime rewrites them in place where it wants u8 x u8 kernels."""
    return graph.constant(np.zeros(shape), np.int8, shared=False)


def exact_sums(stored: Stored, graph: GraphBuilder, x: str) -> str:
    """The integer sums of a convolution, bias included, as floats [N, O, H', W']; exact, or rounded once where float32
    does not hold them."""
    layer = stored.layer
    assert isinstance(layer, IntegerConv2d)
    window, shape = window_of(layer), graph.shape_of(x)
    out, levels = out_shape(layer, shape), as_floats(graph, x)
    weight = graph.node("Cast", stored.weight, to=TensorProto.FLOAT)
    if layer.sum_dtype == torch.float32:
        bias = [graph.node("Cast", stored.bias, to=TensorProto.FLOAT)] if stored.bias else []
        sums = graph.node("Conv", levels, weight, *bias, **window.attributes(shape))
        # ONNX Runtime would fold a multiplier into the weights of a Conv right before it, which turns exact zeros into
        # rounding errors of either sign; a Reshape in between costs nothing and prevents it.
        return reshaped(graph, sums, out)
    sums = _sums_of_halves(stored, graph, levels, weight, window, shape)
    return graph.node("Cast", sums, to=TensorProto.FLOAT, shape=out)


def _sums_of_halves(stored: Stored, graph: GraphBuilder, levels: str, weight: str, window: Window, shape: Shape) -> str:
    """The sums as INT32 from two convolutions of 4 bits each, whose sums are exact in float32."""
    sixteen = graph.constant(16, np.float32)
    high = graph.node("Floor", graph.node("Mul", levels, graph.constant(1 / 16, np.float32)))
    low = graph.node("Sub", levels, graph.node("Mul", high, sixteen))
    parts = [
        graph.node("Cast", graph.node("Conv", part, weight, **window.attributes(shape)), to=TensorProto.INT32)
        for part in (high, low)
    ]
    sums = graph.node("Add", graph.node("Mul", parts[0], graph.constant(16, np.int32)), parts[1])
    return graph.node("Add", sums, stored.per_channel(graph, stored.bias, 4)) if stored.bias else sums


def as_levels(graph: GraphBuilder, x: str) -> str:
    """Unsigned levels as uint8, whatever holds them."""
    if graph.zero_point_of(x) is not None:
        return x
    return graph.node("Cast", x, to=TensorProto.UINT8, shape=graph.shape_of(x), zero_point=0)


def as_floats(graph: GraphBuilder, x: str) -> str:
    """Levels as float32, whatever holds them."""
    zero = graph.zero_point_of(x)
    if zero is None:
        return x
    inputs = (x, graph.constant(1, np.float32), graph.constant(zero, np.uint8))
    return graph.node("DequantizeLinear", *inputs, shape=graph.shape_of(x))


def flattened(graph: GraphBuilder, x: str) -> str:
    """[N, ...] as [N, I]."""
    shape = graph.shape_of(x)
    if len(shape) == 1:
        return x
    return graph.node("Flatten", x, shape=(int(np.prod(shape)),), zero_point=graph.zero_point_of(x))


def reshaped(graph: GraphBuilder, x: str, shape: Shape) -> str:
    """[N, ...] as [N, *shape]; [N, O] stays as it is."""
    if len(shape) == 1:
        return x
    target = graph.constant([-1, *shape], np.int64)
    return graph.node("Reshape", x, target, shape=shape, zero_point=graph.zero_point_of(x))
