"""Member graphs: a frozen network as ONNX, image in, logits out, with integer kernels where it is quantized."""

from functools import singledispatch
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from torch import Tensor, nn

from export.first_layer import SpaceToDepth, fold_first_layer
from export.graph import GraphBuilder, Shape
from models.layers import IntegerConv2d, QuantizeInput
from models.quantizers import top_level


def member_graph(network: nn.Sequential, image_shape: Shape, name: str) -> onnx.ModelProto:
    """The member graph of a frozen network: `image` float32 [N, *image_shape] in [0, 1] to `logits` [N, K].

    Raises TypeError for a layer without a rule.
    """
    graph = GraphBuilder()
    value = graph.input("image", image_shape)
    for layer in fold_first_layer(network, image_shape):
        value = emit(layer, graph, value)
    graph.output(value, "logits", graph.shape_of(value))
    return graph.build(name)


@singledispatch
def emit(layer: nn.Module, graph: GraphBuilder, x: str) -> str:
    """Add a layer to the graph; `x` is its input, the result its output. One rule for each kind of layer."""
    raise TypeError(f"no rule to export {type(layer).__name__} to a member graph")


@emit.register
def _(layer: QuantizeInput, graph: GraphBuilder, image: str) -> str:
    n = top_level(layer.bits)
    # QuantizeLinear saturates at 255, not at n: clip first. Its division by 1/n rounds elsewhere than torch's x * n.
    scaled = graph.node(
        "Mul", graph.node("Clip", image, *_limits(graph, 0, 1, np.float32)), graph.constant(n, np.float32)
    )
    one, zero = graph.constant(1, np.float32), graph.constant(0, np.uint8)
    return graph.node("QuantizeLinear", scaled, one, zero, shape=graph.shape_of(image))


@emit.register
def _(layer: IntegerConv2d, graph: GraphBuilder, x: str) -> str:
    shape = conv_shape(graph.shape_of(x), layer.weight, layer.stride, layer.padding)
    if layer.out_bits is None:
        return _float_output(layer, graph, x, shape)
    n = top_level(layer.out_bits)
    weight = graph.packed_levels(layer.weight.numpy(), layer.weight_bits, TensorProto.INT8)
    y = qlinear_conv(layer, graph, x, weight, shift=0)
    return graph.node("Clip", y, *_limits(graph, 0, n, np.uint8), shape=shape) if n < 255 else y


def qlinear_conv(layer: IntegerConv2d, graph: GraphBuilder, x: str, weight: str, shift: int) -> str:
    """round(sums x multiplier) + shift of levels x, uint8 [N, C, H, W], saturating at 0 and 255."""
    one, zero, y_shift = (graph.constant(v, t) for v, t in ((1, np.float32), (0, np.uint8), (shift, np.uint8)))
    scale = graph.constant(layer.multiplier.numpy(), np.float32)
    # Not shared: ONNX Runtime rewrites zero points in place where it wants u8 x u8 kernels.
    weight_shift = graph.constant(np.zeros(layer.multiplier.shape), np.int8, shared=False)
    shape = conv_shape(graph.shape_of(x), layer.weight, layer.stride, layer.padding)
    attributes = conv_attributes(layer.stride, layer.padding)
    inputs = (x, one, zero, weight, scale, weight_shift, one, y_shift)
    return graph.node("QLinearConv", *inputs, shape=shape, **attributes)


def _float_output(layer: IntegerConv2d, graph: GraphBuilder, x: str, shape: Shape) -> str:
    """The exact int32 sums as floats: a matrix product [N, O] where the kernel covers its input, else ConvInteger."""
    covers = covers_input(graph.shape_of(x), layer.weight, layer.padding)
    levels = layer.weight.flatten(1).T if covers else layer.weight
    weight = graph.packed_levels(levels.contiguous().numpy(), layer.weight_bits, TensorProto.INT8)
    if covers:
        sums = graph.node("MatMulInteger", graph.node("Flatten", x), weight)
        multiplier, shape = layer.multiplier, shape[:1]
    else:
        sums = graph.node("ConvInteger", x, weight, **conv_attributes(layer.stride, layer.padding))
        multiplier = layer.multiplier if layer.multiplier.dim() == 0 else layer.multiplier.view(-1, 1, 1)
    floats = graph.node("Cast", sums, to=TensorProto.FLOAT)
    return graph.node("Mul", floats, graph.constant(multiplier.numpy(), np.float32), shape=shape)


@emit.register
def _(layer: SpaceToDepth, graph: GraphBuilder, image: str) -> str:
    (channels, *sizes), s, pad = graph.shape_of(image), layer.block, layer.padding
    shape = (s * s * channels, *((size + 2 * pad) // s for size in sizes))
    padded = graph.node("Pad", image, graph.constant([0, 0, pad, pad] * 2, np.int64))
    return graph.node("SpaceToDepth", padded, blocksize=s, shape=shape)


@emit.register
def _(layer: nn.Conv2d, graph: GraphBuilder, x: str) -> str:
    refuse_unknown(layer)
    stride, padding = layer.stride[0], int(layer.padding[0])
    shape = conv_shape(graph.shape_of(x), layer.weight, stride, padding)
    weight = graph.constant(layer.weight.detach().numpy(), np.float32)
    return graph.node("Conv", x, weight, shape=shape, **conv_attributes(stride, padding))


@emit.register
def _(layer: nn.ReLU, graph: GraphBuilder, x: str) -> str:
    return graph.node("Relu", x, shape=graph.shape_of(x))


@emit.register
def _(layer: nn.Flatten, graph: GraphBuilder, x: str) -> str:
    shape = graph.shape_of(x)
    return x if len(shape) == 1 else graph.node("Flatten", x, shape=(int(np.prod(shape)),))


@emit.register
def _(layer: nn.Linear, graph: GraphBuilder, x: str) -> str:
    refuse_unknown(layer)
    weight = graph.constant(layer.weight.detach().numpy().T.copy(), np.float32)
    return graph.node("MatMul", x, weight, shape=(layer.out_features,))


def refuse_unknown(layer: nn.Conv2d | nn.Linear) -> None:
    """Raise TypeError for what the rules of float layers leave out, rather than export another function."""
    conv = layer if isinstance(layer, nn.Conv2d) else None
    plain = conv is None or (conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros")
    square = conv is None or (conv.stride[0] == conv.stride[1] and len({*map(str, conv.padding)}) == 1)
    if layer.bias is not None or not plain or not square:
        raise TypeError(f"no rule to export bias, groups, dilation, or uneven strides and padding: {layer}")


def conv_shape(shape: Shape, weight: Tensor, stride: int, padding: int) -> Shape:
    """(O, H', W') of a convolution with weight [O, C, k, k] over an input (C, H, W)."""
    height, width = (
        (size + 2 * padding - kernel) // stride + 1 for size, kernel in zip(shape[1:], weight.shape[2:], strict=True)
    )
    return (weight.shape[0], height, width)


def covers_input(shape: Shape, weight: Tensor, padding: int) -> bool:
    """Whether the kernel [O, C, k, k] is as large as its input (C, H, W): the convolution is then a matrix product."""
    return padding == 0 and tuple(weight.shape[2:]) == shape[1:]


def conv_attributes(stride: int, padding: int) -> dict[str, Any]:
    return {"strides": [stride, stride], "pads": [padding] * 4}


def _limits(graph: GraphBuilder, low: float, high: float, dtype: type[np.generic]) -> tuple[str, str]:
    return graph.constant(low, dtype), graph.constant(high, dtype)


def multiply_accumulates(network: nn.Sequential, image_shape: Shape) -> int:
    """Multiply-accumulates of a frozen network for one image of (C, H, W)."""
    total, shape = 0, image_shape
    for layer in network:
        if isinstance(layer, IntegerConv2d | nn.Conv2d):
            padding = layer.padding if isinstance(layer.padding, int) else int(layer.padding[0])
            stride = layer.stride if isinstance(layer.stride, int) else layer.stride[0]
            shape = conv_shape(shape, layer.weight, stride, padding)
            total += layer.weight[0].numel() * int(np.prod(shape))
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()
    return total
