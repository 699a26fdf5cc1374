"""Gradient graphs: a frozen network as ONNX that also returns d(logits . cotangent)/d(image).

Reverse-mode differentiation while the graph is built: each layer's rule adds its forward nodes and returns a closure
that adds the backward ones. Rounding is straight-through; clips and ReLU have their own gradients, as in torch.
"""

from collections.abc import Callable
from functools import singledispatch

import numpy as np
import onnx
from onnx import TensorProto
from torch import Tensor, nn

from export import integer_graph
from export.graph import GraphBuilder, Shape
from export.integer_graph import conv_attributes, conv_shape, covers_input, refuse_unknown
from models.layers import IntegerConv2d, QuantizeInput
from models.quantizers import top_level

OFFSET = 64
"""Added to levels of up to 7 bits in 8, so that sums below 0 can be told from 0."""

Backward = Callable[[str], str]
"""From the gradient with respect to a layer's output to that with respect to its input."""


def gradient_graph(network: nn.Sequential, image_shape: Shape, n_classes: int, name: str) -> onnx.ModelProto:
    """Inputs `image` [N, *image_shape] and `cotangent` [N, K], outputs `logits` [N, K] and `gradient` of image's shape.

    Raises TypeError for a layer without a rule.
    """
    graph = GraphBuilder()
    value = graph.input("image", image_shape)
    gradient = graph.input("cotangent", (n_classes,))
    backwards: list[Backward] = []
    for layer in network:
        value, backward = differentiate(layer, graph, value)
        backwards.append(backward)
    for backward in reversed(backwards):
        gradient = backward(gradient)
    graph.output(value, "logits", (n_classes,))
    graph.output(gradient, "gradient", image_shape)
    return graph.build(name)


@singledispatch
def differentiate(layer: nn.Module, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """Add a layer's forward nodes; the result is its output and the closure that adds its backward nodes."""
    raise TypeError(f"no rule to differentiate {type(layer).__name__} in a gradient graph")


@differentiate.register
def _(layer: QuantizeInput, graph: GraphBuilder, image: str) -> tuple[str, Backward]:
    shape, n = graph.shape_of(image), graph.constant(top_level(layer.bits), np.float32)
    bottom, top = graph.constant(0, np.float32), graph.constant(1, np.float32)
    inside = graph.node("And", graph.node("GreaterOrEqual", image, bottom), graph.node("LessOrEqual", image, top))
    levels = graph.node("Round", graph.node("Mul", graph.node("Clip", image, bottom, top), n), shape=shape)
    return levels, lambda dy: _masked(graph, graph.node("Mul", dy, n), inside)


@differentiate.register
def _(layer: IntegerConv2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    shape = conv_shape(graph.shape_of(x), layer.weight, layer.stride, layer.padding)
    weight = graph.packed_levels(layer.weight.numpy(), layer.weight_bits, TensorProto.INT8)
    floats = graph.node("Cast", weight, to=TensorProto.FLOAT)
    per_unit = layer.multiplier if layer.multiplier.dim() == 0 else layer.multiplier.view(-1, 1, 1)
    multiplier = graph.constant(per_unit.numpy(), np.float32)
    back = _convolve_back(graph, graph.shape_of(x), floats, layer.weight, layer.stride, layer.padding)

    if layer.out_bits is None:
        values = graph.node("Mul", _sums(layer, graph, x, weight, floats), multiplier, shape=shape)
        return values, lambda dy: back(graph.node("Mul", dy, multiplier))
    if layer.out_bits < 8:
        rounded = _rounded_by_kernel(layer, graph, x, weight)
    else:
        rounded = graph.node("Round", graph.node("Mul", _sums(layer, graph, x, weight, floats), multiplier))
    n = graph.constant(top_level(layer.out_bits), np.float32)
    levels = graph.node("Clip", rounded, graph.constant(0, np.float32), n, shape=shape)
    inside = graph.node("Equal", rounded, levels)
    return levels, lambda dy: back(graph.node("Mul", _masked(graph, dy, inside), multiplier))


def _rounded_by_kernel(layer: IntegerConv2d, graph: GraphBuilder, x: str, weight: str) -> str:
    """round(sums x multiplier) from the int8 kernel, three times as fast as floats: right from -OFFSET to the top level
    and beyond, so that what is clipped can be told from what is not."""
    levels = graph.node("Cast", x, to=TensorProto.UINT8, shape=graph.shape_of(x))
    y = integer_graph.qlinear_conv(layer, graph, levels, weight, shift=OFFSET)
    return graph.node("Sub", graph.node("Cast", y, to=TensorProto.FLOAT), graph.constant(OFFSET, np.float32))


def _sums(layer: IntegerConv2d, graph: GraphBuilder, x: str, weight: str, floats: str) -> str:
    """The integer sums as floats [N, O, H', W']."""
    shape = conv_shape(graph.shape_of(x), layer.weight, layer.stride, layer.padding)
    if covers_input(graph.shape_of(x), layer.weight, layer.padding):
        levels = graph.node("Cast", graph.node("Flatten", x), to=TensorProto.UINT8)
        columns = graph.node("Transpose", graph.node("Flatten", weight), perm=[1, 0])
        sums = graph.node("Cast", graph.node("MatMulInteger", levels, columns), to=TensorProto.FLOAT)
    else:
        sums = graph.node("Conv", x, floats, **conv_attributes(layer.stride, layer.padding))
    # ONNX Runtime would fold the multiplier into the weights of a Conv right before it, which turns exact zeros into
    # rounding errors of either sign; a Reshape in between costs nothing and prevents it.
    return graph.node("Reshape", sums, graph.constant([-1, *shape], np.int64))


@differentiate.register
def _(layer: nn.Conv2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    refuse_unknown(layer)
    weight = graph.constant(layer.weight.detach().numpy(), np.float32)
    shape, stride, padding = graph.shape_of(x), layer.stride[0], int(layer.padding[0])
    back = _convolve_back(graph, shape, weight, layer.weight, stride, padding)
    out = conv_shape(shape, layer.weight, stride, padding)
    if not covers_input(shape, layer.weight, padding):
        return integer_graph.emit(layer, graph, x), back
    columns = graph.node("Transpose", graph.node("Flatten", weight), perm=[1, 0])
    product = graph.node("MatMul", graph.node("Flatten", x), columns)
    return graph.node("Reshape", product, graph.constant([-1, *out], np.int64), shape=out), back


@differentiate.register
def _(layer: nn.ReLU, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    positive = graph.node("Greater", x, graph.constant(0, np.float32))
    return integer_graph.emit(layer, graph, x), lambda dy: _masked(graph, dy, positive)


@differentiate.register
def _(layer: nn.Flatten, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    back = graph.constant([-1, *graph.shape_of(x)], np.int64)
    return integer_graph.emit(layer, graph, x), lambda dy: graph.node("Reshape", dy, back)


@differentiate.register
def _(layer: nn.Linear, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    transposed = graph.constant(layer.weight.detach().numpy(), np.float32)
    return integer_graph.emit(layer, graph, x), lambda dy: graph.node("MatMul", dy, transposed)


def _convolve_back(graph: GraphBuilder, shape: Shape, weight: str, like: Tensor, stride: int, padding: int) -> Backward:
    """The transpose of a convolution over an input of `shape`; a matrix product where the kernel covers all of it."""
    if covers_input(shape, like, padding):
        flat, back = graph.node("Flatten", weight), graph.constant([-1, *shape], np.int64)
        return lambda dy: graph.node("Reshape", graph.node("MatMul", graph.node("Flatten", dy), flat), back)
    out = conv_shape(shape, like, stride, padding)
    lost = [
        size - ((o - 1) * stride - 2 * padding + k)
        for size, o, k in zip(shape[1:], out[1:], like.shape[2:], strict=True)
    ]
    attributes = conv_attributes(stride, padding)
    return lambda dy: graph.node("ConvTranspose", dy, weight, output_padding=lost, **attributes)


def _masked(graph: GraphBuilder, gradient: str, where: str) -> str:
    """The gradient where it passes, else 0; a product, because ONNX Runtime's Where is ten times slower."""
    return graph.node("Mul", gradient, graph.node("Cast", where, to=TensorProto.FLOAT))
