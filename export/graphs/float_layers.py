"""Member graphs' rules for layers in float, and for those that work on floats and levels alike."""

import numpy as np
from torch import nn

from export.graphs.geometry import window_of
from export.graphs.graph import GraphBuilder
from export.graphs.products import flattened, reshaped


def convolution(layer: nn.Conv2d, graph: GraphBuilder, x: str) -> str:
    """Floats [N, C, H, W] to [N, O, H', W'], with the layer's own weight."""
    return convolved(layer, graph, x, graph.parameter("weight", layer.weight.detach().numpy()))


def convolved(layer: nn.Conv2d, graph: GraphBuilder, x: str, weight: str) -> str:
    """The convolution with the stored weight; a matrix product where the kernel covers its input."""
    window, shape = window_of(layer), graph.shape_of(x)
    out = (layer.out_channels, *window.counts(shape))
    bias = [] if layer.bias is None else [graph.parameter("bias", layer.bias.detach().numpy())]
    if window.covers(shape):
        rows = graph.node("Flatten", weight)
        return reshaped(graph, graph.node("Gemm", flattened(graph, x), rows, *bias, transB=1), out)
    return graph.node("Conv", x, weight, *bias, shape=out, **window.attributes(shape))


def linear(layer: nn.Linear, graph: GraphBuilder, x: str) -> str:
    """Floats [N, I] to [N, O], with the layer's own weight."""
    return multiplied(layer, graph, x, graph.parameter("weight", layer.weight.detach().numpy()))


def multiplied(layer: nn.Linear, graph: GraphBuilder, x: str, weight: str) -> str:
    """The linear layer with the stored weight [O, I]."""
    bias = [] if layer.bias is None else [graph.parameter("bias", layer.bias.detach().numpy())]
    return graph.node("Gemm", x, weight, *bias, transB=1, shape=(layer.out_features,))


def relu(layer: nn.ReLU, graph: GraphBuilder, x: str) -> str:
    """max(x, 0) of floats of any shape."""
    return graph.node("Relu", x, shape=graph.shape_of(x))


def hardtanh(layer: nn.Hardtanh, graph: GraphBuilder, x: str) -> str:
    """Floats of any shape, clipped to the layer's limits."""
    limits = (graph.constant(value, np.float32) for value in (layer.min_val, layer.max_val))
    return graph.node("Clip", x, *limits, shape=graph.shape_of(x))


def flatten(layer: nn.Flatten, graph: GraphBuilder, x: str) -> str:
    """Floats or levels [N, ...] to [N, I]."""
    return flattened(graph, x)


def max_pool(layer: nn.MaxPool2d, graph: GraphBuilder, x: str) -> str:
    """Of floats or levels; padding is never the largest, in ONNX as in torch."""
    window, shape = window_of(layer), graph.shape_of(x)
    out = (shape[0], *window.counts(shape))
    attributes = {"kernel_shape": [window.kernel] * 2} | window.attributes(shape)
    return graph.node("MaxPool", x, shape=out, zero_point=graph.zero_point_of(x), **attributes)


def average_pool(layer: nn.AvgPool2d, graph: GraphBuilder, x: str) -> str:
    """The mean of each window of floats, [N, C, H, W] to [N, C, H', W']."""
    window, shape = window_of(layer), graph.shape_of(x)
    out = (shape[0], *window.counts(shape))
    return graph.node("AveragePool", x, shape=out, kernel_shape=[window.kernel] * 2, **window.attributes(shape))


def global_average_pool(layer: nn.AdaptiveAvgPool2d, graph: GraphBuilder, x: str) -> str:
    """The mean of each channel of floats, [N, C, H, W] to [N, C, 1, 1]. Raises TypeError for another size than 1."""
    if layer.output_size not in (1, (1, 1)):
        raise TypeError(f"no rule to export other sizes than 1: {layer}")
    return graph.node("GlobalAveragePool", x, shape=(graph.shape_of(x)[0], 1, 1))
