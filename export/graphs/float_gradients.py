"""Gradient graphs' rules for layers in float: what each gives, and its gradient for x from that for what it gives."""

import numpy as np
from torch import nn

from export.graphs import float_layers
from export.graphs.backward import Backward, masked, transposed_convolution
from export.graphs.geometry import window_of
from export.graphs.graph import GraphBuilder
from export.graphs.products import reshaped


def convolution(layer: nn.Conv2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient is the transposed convolution with the same weight."""
    weight = graph.parameter("weight", layer.weight.detach().numpy())
    back = transposed_convolution(graph, window_of(layer), graph.shape_of(x), weight, layer.weight)
    return float_layers.convolved(layer, graph, x, weight), back


def linear(layer: nn.Linear, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient is dy W, [N, O] to [N, I]."""
    weight = graph.parameter("weight", layer.weight.detach().numpy())
    return float_layers.multiplied(layer, graph, x, weight), lambda dy: graph.node("MatMul", dy, weight)


def relu(layer: nn.ReLU, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient passes where x > 0; none at 0, as in torch."""
    y = float_layers.relu(layer, graph, x)
    positive = graph.node("Greater", y, graph.constant(0, np.float32))
    return y, lambda dy: masked(graph, dy, positive)


def hardtanh(layer: nn.Hardtanh, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient passes between the limits; none on them, as in torch."""
    low, high = (graph.constant(value, np.float32) for value in (layer.min_val, layer.max_val))
    inside = graph.node("And", graph.node("Greater", x, low), graph.node("Less", x, high))
    return float_layers.hardtanh(layer, graph, x), lambda dy: masked(graph, dy, inside)


def flatten(layer: nn.Flatten, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient is dy in the shape of x."""
    shape = graph.shape_of(x)
    return float_layers.flatten(layer, graph, x), lambda dy: reshaped(graph, dy, shape)
