"""Gradient graphs: a frozen network as ONNX that also returns d(logits . cotangent)/d(image).

Reverse-mode differentiation while the graph is built: each layer's rule adds its forward nodes and returns a closure
that adds the backward ones. Rounding is straight-through; clips and ReLU have their own gradients, as in torch.
Tensors of the layers have their names in the network, so that it can be restored from the graph.
"""

from functools import singledispatch

import numpy as np
import onnx
from torch import nn

from export.graphs import float_gradients, integer_gradients, pool_gradients
from export.graphs.backward import Backward, masked
from export.graphs.graph import GraphBuilder, Shape
from export.graphs.products import as_floats
from models.integer import (
    Dequantize,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerLinear,
    IntegerResidual,
    QuantizeInput,
)
from models.quantizers import top_level
from models.residual import Residual


def gradient_graph(network: nn.Sequential, image_shape: Shape, n_classes: int, name: str) -> onnx.ModelProto:
    """Inputs `image` [N, *image_shape] and `cotangent` [N, K], outputs `logits` [N, K] and `gradient` of image's shape.

    Raises TypeError for a layer without a rule.
    """
    graph = GraphBuilder()
    image, cotangent = graph.input("image", image_shape), graph.input("cotangent", (n_classes,))
    logits, backward = differentiate(network, graph, image)
    gradient = backward(cotangent)
    graph.output(logits, "logits", (n_classes,))
    graph.output(gradient, "gradient", image_shape)
    return graph.build(name)


@singledispatch
def differentiate(layer: nn.Module, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """Add a layer's forward nodes; the result is its output and the closure that adds its backward nodes."""
    raise TypeError(f"no rule to differentiate {type(layer).__name__} in a gradient graph")


differentiate.register(nn.Conv2d, float_gradients.convolution)
differentiate.register(nn.Linear, float_gradients.linear)
differentiate.register(nn.ReLU, float_gradients.relu)
differentiate.register(nn.Hardtanh, float_gradients.hardtanh)
differentiate.register(nn.Flatten, float_gradients.flatten)
differentiate.register(nn.MaxPool2d, pool_gradients.max_pool)
differentiate.register(nn.AvgPool2d, pool_gradients.average_pool)
differentiate.register(nn.AdaptiveAvgPool2d, pool_gradients.global_average_pool)
differentiate.register(QuantizeInput, integer_gradients.quantize_input)
differentiate.register(Dequantize, integer_gradients.dequantize)
differentiate.register(IntegerConv2d, integer_gradients.product)
differentiate.register(IntegerLinear, integer_gradients.product)
differentiate.register(IntegerAvgPool2d, pool_gradients.integer_average_pool)


@differentiate.register
def _(network: nn.Sequential, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    backwards: list[Backward] = []
    for index, layer in _pools_first(network):
        with graph.inside(str(index)):
            x, backward = differentiate(layer, graph, x)
        backwards.append(backward)

    def back(gradient: str) -> str:
        for backward in reversed(backwards):
            gradient = backward(gradient)
        return gradient

    return x, back


def _pools_first(network: nn.Sequential) -> list[tuple[int, nn.Module]]:
    """The layers with their numbers, a max pool before the ReLU that it follows: the same values and gradients (where
    all of a window are below 0, ReLU stops the gradient either way), and ReLU's mask is smaller."""
    layers = list(enumerate(network))
    for place in range(len(layers) - 1):
        if isinstance(layers[place][1], nn.ReLU) and isinstance(layers[place + 1][1], nn.MaxPool2d):
            layers[place : place + 2] = layers[place + 1], layers[place]
    return layers


@differentiate.register
def _(layer: Residual, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    branch, into_branch = _part("branch", layer.branch, graph, x)
    shortcut, into_shortcut = _part("shortcut", layer.shortcut, graph, x)
    y = graph.node("Relu", graph.node("Add", branch, shortcut), shape=graph.shape_of(branch))
    positive = graph.node("Greater", y, graph.constant(0, np.float32))

    def back(dy: str) -> str:
        passed = masked(graph, dy, positive)
        return graph.node("Add", into_branch(passed), into_shortcut(passed))

    return y, back


@differentiate.register
def _(layer: IntegerResidual, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """Sums of floats that hold integers: exact."""
    branch, into_branch = _part("branch", layer.branch, graph, x)
    shortcut, into_shortcut = _part("shortcut", layer.shortcut, graph, x)
    unit, per_unit = graph.constant(layer.unit, np.float32), graph.constant(1 / layer.unit, np.float32)
    other = as_floats(graph, shortcut)
    if not len(layer.shortcut):
        other = graph.node("Mul", other, unit)
    rounded = graph.node("Round", graph.node("Mul", graph.node("Add", as_floats(graph, branch), other), per_unit))
    limits = (graph.constant(0, np.float32), graph.constant(top_level(layer.bits), np.float32))
    levels = graph.node("Clip", rounded, *limits, shape=graph.shape_of(branch))
    inside = graph.node("Equal", rounded, levels)

    def back(dy: str) -> str:
        passed = masked(graph, dy, inside)
        of_units = graph.node("Mul", passed, per_unit)
        return graph.node("Add", into_branch(of_units), into_shortcut(of_units) if len(layer.shortcut) else passed)

    return levels, back


def _part(name: str, layers: nn.Sequential, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    with graph.inside(name):
        return differentiate(layers, graph, x)
