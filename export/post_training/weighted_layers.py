"""Layers with weights, Conv, Gemm and MatMul, seen as matrices: weights [G, O, K] times columns of inputs [G, K, P]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from export.post_training.onnx_nodes import CHUNK, OnnxGraph, attributes

Array = NDArray[np.float32]
COLUMNS_A_WEIGHT, LEAST_COLUMNS, MOST_COLUMNS = 20, 4_096, 24_000
"""Input columns that second moments are taken from: so many for each weight of a row, within these limits."""


@dataclass(frozen=True)
class WeightedLayer:
    """A node with constant weights: `axis` is that of its output channels, `bias` None where it has none."""

    node: onnx.NodeProto
    weight: Array
    bias: Array | None
    axis: int
    groups: int

    @property
    def channels(self) -> int:
        return int(self.weight.shape[self.axis])

    @property
    def channel_axis(self) -> int:
        """Of the node's output: 1 for a convolution's, else the last."""
        return 1 if self.node.op_type == "Conv" else -1

    def matrix(self) -> Tensor:
        """Weights float64 [G, O / G, K]."""
        rows = np.moveaxis(self.weight, self.axis, 0).reshape(self.groups, self.channels // self.groups, -1)
        return torch.tensor(rows, dtype=torch.float64)

    def from_matrix(self, matrix: Tensor) -> Array:
        """`matrix`, turned back: float32 in the layout of the node's weights."""
        moved = np.moveaxis(self.weight, self.axis, 0)
        rows = matrix.numpy().astype(np.float32).reshape(moved.shape)
        return np.ascontiguousarray(np.moveaxis(rows, 0, self.axis))

    def moments(self, values: Array, others: Array) -> Tensor:
        """E[x x'^T] of the inputs that the weights meet, float64 [G, K, K], for values and others of one shape.

        Over enough places for the width of the matrix, the same ones for the same shape.
        """
        total, count = torch.zeros((self.groups, self._width, self._width), dtype=torch.float64), 0
        for start in range(0, len(values), CHUNK):
            x, y = (self.columns(part[start : start + CHUNK], self._places(values), start) for part in (values, others))
            total += x @ y.mT
            count += x.shape[-1]
        return total / count

    def mean_squares(self, values: Array) -> Tensor:
        """The diagonal of `moments(values, values)`, float64 [G, K], without the rest of it."""
        total, count = torch.zeros((self.groups, self._width), dtype=torch.float64), 0
        for start in range(0, len(values), CHUNK):
            x = self.columns(values[start : start + CHUNK], self._places(values), start)
            total += x.double().square().sum(dim=-1)
            count += x.shape[-1]
        return total / count

    @property
    def _width(self) -> int:
        """K, the inputs that each output's weights meet."""
        return int(self.weight.size) // self.channels

    def _places(self, values: Array) -> int:
        """Of each image."""
        return -(-min(max(COLUMNS_A_WEIGHT * self._width, LEAST_COLUMNS), MOST_COLUMNS) // len(values))

    def columns(self, values: Array, positions: int, seed: int) -> Tensor:
        """Inputs [G, K, P] that the weights meet, for values [N, ...], at up to `positions` places of each image.

        The same places for the same seed and shape.
        """
        if self.node.op_type == "Conv":
            return self._patches(torch.tensor(values), positions, seed)
        rows = torch.tensor(values.reshape(-1, values.shape[-1]))
        return _some(rows, positions * len(values), seed).T[None]

    def _patches(self, values: Tensor, positions: int, seed: int) -> Tensor:
        """[G, C / G x kernel, N x P]; row order as in the weights: channel, row, column."""
        geometry = conv_geometry(self.node, values.shape[2:], self.weight.shape[2:])
        top, left, bottom, right = geometry.pads
        padded = functional.pad(values, (left, right, top, bottom))
        (height, width), (stride_h, stride_w) = geometry.size, geometry.strides
        places = _some(torch.arange(height * width), positions, seed)
        rows, columns = places // width * stride_h, places % width * stride_w
        kernel_h, kernel_w = self.weight.shape[2:]
        dilation_h, dilation_w = geometry.dilations
        taps = [
            padded[:, :, rows + i * dilation_h, columns + j * dilation_w]
            for i in range(kernel_h)
            for j in range(kernel_w)
        ]
        patches = torch.stack(taps, dim=2)  # [N, C, kernel, P]
        return patches.permute(1, 2, 0, 3).reshape(self.groups, -1, len(values) * len(places))


@dataclass(frozen=True)
class Geometry:
    """Where a convolution looks: pads (top, left, bottom, right), strides, dilations, and its output's (H, W)."""

    pads: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    size: tuple[int, ...]


def conv_geometry(node: onnx.NodeProto, image: tuple[int, ...], kernel: tuple[int, ...]) -> Geometry:
    """The geometry of a 2-D convolution over an input of (H, W)."""
    given: dict[str, Any] = attributes(node)
    strides, dilations = tuple(given.get("strides", (1, 1))), tuple(given.get("dilations", (1, 1)))
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True))
    pads = tuple(given.get("pads", (0, 0, 0, 0)))
    automatic = given.get("auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        missing = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(image, strides, reach, strict=True)]
        small, large = [m // 2 for m in missing], [m - m // 2 for m in missing]
        pads = (*small, *large) if automatic == "SAME_UPPER" else (*large, *small)
    size = tuple(
        (n + pads[axis] + pads[axis + 2] - r) // s + 1
        for axis, (n, s, r) in enumerate(zip(image, strides, reach, strict=True))
    )
    return Geometry(pads, strides, dilations, size)


def weighted_layer(graph: OnnxGraph, node: onnx.NodeProto) -> WeightedLayer | None:
    """The node as a layer with weights, or None if it is none."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2 or node.input[1] not in graph.constants:
        return None
    weight = graph.constants[node.input[1]]
    given = attributes(node)
    if node.op_type == "Conv":
        fits, axis, groups = weight.ndim == 4, 0, int(given.get("group", 1))
    else:
        plain = given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
        fits, axis, groups = weight.ndim == 2 and plain, 0 if given.get("transB", 0) else 1, 1
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if not fits or node.input[0] in graph.constants or (has_bias and node.input[2] not in graph.constants):
        return None
    bias = graph.constants[node.input[2]].reshape(-1).astype(np.float32) if has_bias else None
    channels = weight.shape[axis]
    if bias is not None and bias.size != channels:
        bias = np.broadcast_to(bias, (channels,)).copy()
    return WeightedLayer(node, weight, bias, axis, groups)


def weighted_layers(graph: OnnxGraph) -> list[WeightedLayer]:
    """All layers with weights, in the graph's order."""
    return [layer for node in graph.nodes if (layer := weighted_layer(graph, node)) is not None]


def work_of(graph: OnnxGraph, layers: Sequence[WeightedLayer], shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of the layers for one image (C, H, W): weights times the places where each is used."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=layer.node.output[0]) for layer in layers)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {graph.input: np.zeros((1, *shape), np.float32)})
    return sum(layer.weight.size * output.size // layer.channels for layer, output in zip(layers, outputs, strict=True))


def _some(rows: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the rows, chosen by the seed; all if there are no more."""
    if len(rows) <= count:
        return rows
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    return rows[chosen]
