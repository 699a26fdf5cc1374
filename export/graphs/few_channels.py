"""Convolutions over few channels, such as an image's first layer, with the kernel's rows as channels.

ONNX Runtime's fastest int8 kernel takes channels in fours; over one or three it falls back to fetching single bytes.
With the rows that a kernel of k x k sees at a height as channels, a kernel of 1 x k gives the same integer sums, and
whole rows are quick to copy. Microseconds for one image, quantization included, one thread with AVX-512 VNNI, shortest
of 240 runs in turn, ONNX Runtime 1.32 (`python -m benchmarks kernels` compares whole members):

| first layer of | as it is | channels padded to 4 | blocks of pixels as channels | rows as channels |
|---|---|---|---|---|
| mnist_conv, 8x8/2 over 1 | 27 | 31 | 21 | 18 |
| cifar_conv, 5x5 over 3 | 64 | 54 | 71 | 36 |
| small_cnn, 3x3 over 1 | 32 | 24 | | 21 |
| resnet20, 3x3 over 3 | 42 | 28 | | 27 |
| photo_net, 3x3/2 over 3, 96 pixels | 119 | 114 | | 68 |

From 4 channels on nothing is gained.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graphs.geometry import Window, window_of
from export.graphs.graph import GraphBuilder, Shape
from models.integer import IntegerConv2d

TOGETHER = 4
"""Channels that the kernel takes at once."""


def fits(layer: IntegerConv2d) -> bool:
    """Whether the layer is one of these."""
    _, channels, kernel, _ = layer.weight.shape
    return layer.groups == 1 and channels < TOGETHER and kernel > 1


@dataclass(frozen=True)
class Rows:
    """What a convolution with a kernel of one row takes, in place of the layer's own."""

    x: str
    weight: str
    attributes: dict[str, Any]


def rows_as_channels(layer: IntegerConv2d, graph: GraphBuilder, x: str, weight: str) -> Rows:
    """Levels x uint8 [N, C, H, W] as [N, C k, H', W], and INT8 weights [O, C, k, k] as [O, C k, 1, k]; C k rounded up
    to whole fours, with weights of 0."""
    window, shape = window_of(layer), graph.shape_of(x)
    filters, channels, kernel, _ = layer.weight.shape
    spare = -channels * kernel % TOGETHER
    places = _places(window, shape, spare)
    rows = graph.node("Reshape", x, graph.constant([-1, channels * shape[1], shape[2]], np.int64))
    if window.padding:
        zero = graph.constant(graph.zero_point_of(x) or 0, np.uint8)
        rows = graph.node("Pad", rows, graph.constant([0, 0, 0, 0, 1, 0], np.int64), zero)
    seen = graph.node("Gather", rows, graph.constant(places, np.int32), axis=1)
    kernels = graph.node("Reshape", weight, graph.constant([filters, channels * kernel, 1, kernel], np.int64))
    if spare:
        kernels = graph.node("Pad", kernels, graph.constant([0] * 5 + [spare, 0, 0], np.int64))
    pads = [0, window.padding] * 2
    return Rows(seen, kernels, {"strides": [1, window.stride], "pads": pads})


def _places(window: Window, shape: Shape, spare: int) -> NDArray[np.int32]:
    """Which row of [C H, W] each channel has at each height, [C k + spare, H']; C H for one of the padding."""
    channels, height, _ = shape
    outputs, _ = window.counts(shape)
    reached = np.arange(window.kernel)[:, None] + window.stride * np.arange(outputs) - window.padding
    inside = (reached >= 0) & (reached < height)
    own = np.where(inside, reached + height * np.arange(channels)[:, None, None], channels * height)
    return np.concatenate([own.reshape(-1, outputs), np.zeros((spare, outputs), np.int64)]).astype(np.int32)
