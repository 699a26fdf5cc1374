"""Quantization after training: walk through a network once, layer by layer, on calibration images."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.post_training.grids import Grid, best_grid
from export.post_training.onnx_nodes import OnnxGraph, Values
from export.post_training.operators import QuantizationError, gridded
from export.post_training.rounding import Levels, compensated, nearest, refitted, weighted_scales, widest_scales
from export.post_training.weighted_layers import WeightedLayer, weighted_layer

Array = NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer's integer levels, in the layout of its weights, a scale for each output channel, and its float bias."""

    levels: NDArray[np.int8]
    scales: Array
    bias: Array
    bits: int


@dataclass(frozen=True)
class Method:
    """How weights are rounded; what comes first costs most."""

    compensate: bool = True
    refit: bool = True
    correct_bias: bool = True
    search: bool = True
    """For the scales with the smallest error; else they reach to the largest weight."""


CORRECTED = Method()
PLAIN = Method(compensate=False, refit=False, correct_bias=False)
"""The nearest level, by the best scales, and nothing else."""
QUICK = Method(compensate=False, refit=False, correct_bias=False, search=False)
"""For a network whose answers do not matter, only what they cost."""


@dataclass
class Quantized:
    """What a walk decided: a grid for each value that has one, and the layers with weights by node name."""

    grids: dict[str, Grid] = field(default_factory=dict)
    layers: dict[str, QuantizedLayer] = field(default_factory=dict)


def quantize(
    graph: OnnxGraph,
    images: Array,
    bits: int,
    method: Method,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Quantized:
    """Quantize a float graph on `images` float32 [N, C, H, W].

    Two streams go through the nodes: the exact values, and those of the network as it will be served, so that each
    layer makes up for the errors of those before it. `report` is told nodes done and nodes in all. Raises
    QuantizationError, naming operator and node, for one without a rule, one that gives a value that is not finite, and
    a layer whose inputs are too large to round its weights by them.
    """
    walk = _Walk(graph, bits, method)
    walk.start(images)
    for index, node in enumerate(graph.nodes):
        walk.step(node)
        report(index + 1, len(graph.nodes))
    return walk.result


class _Walk:
    def __init__(self, graph: OnnxGraph, bits: int, method: Method) -> None:
        self.result = Quantized()
        self._graph, self._bits, self._method = graph, bits, method
        self._owners, self._uses = gridded(graph), graph.uses()
        self._exact: dict[str, Values] = {}
        self._served: dict[str, Values] = {}

    def start(self, images: Array) -> None:
        self._keep(self._graph.input, images, images)

    def step(self, node: onnx.NodeProto) -> None:
        exact = {name: self._exact[name] for name in self._graph.variables(node)}
        served = {name: self._value(name) for name in self._graph.variables(node)}
        exact_outputs = self._graph.run(node, exact, {})
        layer = weighted_layer(self._graph, node)
        if layer is None:
            outputs = self._graph.run(node, served, {})
        else:
            source = node.input[0]
            outputs = [self._quantize_layer(layer, exact[source], served[source], exact_outputs[0])]
        for name in set(node.input):
            self._uses[name] -= 1
            if not self._uses[name]:
                self._exact.pop(name, None)
                self._served.pop(name, None)
        for name, exact_output, output in zip(filter(None, node.output), exact_outputs, outputs, strict=True):
            if layer is not None or name in self._owners:
                _refuse_infinite(node, exact_output, output)
            self._keep(name, exact_output, output)

    def _keep(self, name: str, exact: Values, served: Values) -> None:
        """Put a value in both streams, the served one on its grid."""
        if not self._uses[name]:
            return
        self._exact[name] = exact
        owner = self._owners.get(name)
        if owner is None:
            self._served[name] = served
            return
        grids = self.result.grids
        grids[name] = grids[owner] if owner in grids else best_grid(served)
        self._served[name] = grids[name].quantize(served)

    def _value(self, name: str) -> Values:
        grid = self.result.grids.get(name)
        return self._served[name] if grid is None else grid.dequantize(self._served[name])

    def _quantize_layer(self, layer: WeightedLayer, exact: Array, served: Array, exact_output: Array) -> Array:
        """Choose the layer's levels and bias; its output in the served stream."""
        try:
            chosen = self._rounded(layer, exact, served)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise QuantizationError(
                f"{_named(layer.node)}: expected inputs to round its weights by, got some of up to "
                f"{np.abs(served).max():.3g}: is a weight before it broken? --plain rounds without them"
            ) from error
        replaced = {layer.node.input[1]: layer.from_matrix(chosen.weights)}
        output: Array = self._graph.run(layer.node, {layer.node.input[0]: served}, replaced)[0]
        bias = np.zeros(layer.channels, np.float32) if layer.bias is None else layer.bias
        if self._method.correct_bias:
            shift = channel_means(exact_output, layer.channel_axis) - channel_means(output, layer.channel_axis)
            bias = bias + shift
            output = output + _along(shift, output.ndim, layer.channel_axis)
        self.result.layers[layer.node.name] = QuantizedLayer(
            layer.from_matrix(chosen.levels).astype(np.int8),
            chosen.scales.reshape(-1).numpy().astype(np.float32),
            bias,
            self._bits,
        )
        return output

    def _rounded(self, layer: WeightedLayer, exact: Array, served: Array) -> Levels:
        weights = layer.matrix()
        if not self._method.search:
            return nearest(weights, widest_scales(weights, self._bits).float().double(), self._bits)
        if not self._method.refit and not self._method.compensate:
            return nearest(weights, self._scales(weights, layer.mean_squares(served)), self._bits)
        moments = layer.moments(served, served)
        if self._method.refit:
            weights = refitted(weights, moments, layer.moments(exact, served))
        scales = self._scales(weights, moments.diagonal(dim1=-2, dim2=-1))
        if self._method.compensate:
            return compensated(weights, scales, self._bits, moments)
        return nearest(weights, scales, self._bits)

    def _scales(self, weights: Tensor, importance: Tensor) -> Tensor:
        """As they will be stored."""
        return weighted_scales(weights, self._bits, importance).float().double()


def _refuse_infinite(node: onnx.NodeProto, *outputs: Values) -> None:
    if not all(np.isfinite(values).all() for values in outputs):
        raise QuantizationError(
            f"{_named(node)}: expected finite values for the calibration pictures, got NaN or infinity; are its "
            "weights, or those before it, too large?"
        )


def _named(node: onnx.NodeProto) -> str:
    return f"the operator {node.op_type} of node {node.name!r}"


def channel_means(values: Array, axis: int) -> Array:
    """The mean of each channel, float32 [C]."""
    means: Array = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis]).mean(axis=0, dtype=np.float64)
    return means.astype(np.float32)


def _along(values: Array, ndim: int, axis: int) -> Array:
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)
