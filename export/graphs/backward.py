"""Pieces that the backward rules of several layers share: masks, transposed convolutions, phases."""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto
from torch import Tensor

from export.graphs.geometry import Window
from export.graphs.graph import GraphBuilder, Shape
from export.graphs.products import reshaped

FEWEST_CHANNELS = 8
"""A plain convolution computes 16 channels at once: for fewer, the transposed one has less to do."""

Backward = Callable[[str], str]
"""From the gradient with respect to a layer's output to that with respect to its input."""


def masked(graph: GraphBuilder, gradient: str, where: str) -> str:
    """The gradient where it passes, else 0; a product, because ONNX Runtime's Where is ten times slower."""
    return graph.node("Mul", gradient, graph.node("Cast", where, to=TensorProto.FLOAT))


def transposed_convolution(graph: GraphBuilder, window: Window, shape: Shape, weight: str, like: Tensor) -> Backward:
    """The transpose of a convolution with `weight`, float32 of the shape of `like` [O, C / groups, k, k], over an input
    of `shape`; a matrix product where the kernel covers all of it."""
    if window.covers(shape):
        rows = graph.node("Flatten", weight)
        return lambda dy: reshaped(graph, graph.node("MatMul", graph.node("Flatten", dy), rows), shape)
    if window.stride == 1 and window.padding < window.kernel and like.shape[1] >= FEWEST_CHANNELS:
        flipped = _flipped(graph, weight, window.groups, tuple(like.shape))
        mirrored = Window(window.kernel, 1, window.kernel - 1 - window.padding, window.groups)
        attributes = mirrored.attributes((like.shape[0], *window.counts(shape)))
        return lambda dy: graph.node("Conv", dy, flipped, **attributes)
    lost = [
        size - ((count - 1) * window.stride - 2 * window.padding + window.kernel)
        for size, count in zip(shape[1:], window.counts(shape), strict=True)
    ]
    attributes = {"strides": [window.stride] * 2, "pads": [window.padding] * 4, "group": window.groups}
    return lambda dy: graph.node("ConvTranspose", dy, weight, output_padding=lost, **attributes)


def _flipped(graph: GraphBuilder, weight: str, groups: int, shape: Shape) -> str:
    """Weights [O, C / groups, k, k] as those of the transposed convolution of stride 1, which a plain one computes
    faster: [C, O / groups, k, k], turned by half a turn."""
    filters, channels, *kernel = shape

    def to(*sizes: int) -> str:
        return graph.constant(sizes, np.int64)

    grouped = graph.node("Reshape", weight, to(groups, filters // groups, channels, *kernel))
    swapped = graph.node("Transpose", grouped, perm=[0, 2, 1, 3, 4])
    joined = graph.node("Reshape", swapped, to(groups * channels, filters // groups, *kernel))
    return graph.node("Slice", joined, to(-1, -1), to(-(2**31), -(2**31)), to(2, 3), to(-1, -1))


def from_taps(graph: GraphBuilder, taps: dict[tuple[int, int], str], window: Window, shape: Shape) -> str:
    """The gradient [N, *shape] of an image from those of the places of a window that moves over it.

    `taps`: for each row and column in the kernel, the gradient [N, C, H', W'] of the pixel there. Pixels of the same
    row and column modulo the stride are a phase; phases are summed at the size of the places and put together by
    DepthToSpace.
    """
    s, kernel, counts = window.stride, window.kernel, window.counts(shape)
    more = (kernel - 1) // s
    phases: dict[tuple[int, int], list[str]] = {}
    for (row, column), gradient in taps.items():
        down, right = row // s, column // s
        padded = gradient
        if more:
            pads = [0, 0, down, right, 0, 0, more - down, more - right]
            padded = graph.node("Pad", gradient, graph.constant(pads, np.int64))
        phases.setdefault((row % s, column % s), []).append(padded)
    blocks = [count + more for count in counts]
    summed = {phase: graph.node("Sum", *parts) if len(parts) > 1 else parts[0] for phase, parts in phases.items()}
    return from_phases(graph, summed, blocks, window, shape)


def from_phases(
    graph: GraphBuilder, phases: dict[tuple[int, int], str], blocks: list[int], window: Window, shape: Shape
) -> str:
    """The image [N, *shape] of phases [N, C, *blocks], whose first pixel is that of the padding; a missing one is 0."""
    s, whole = window.stride, next(iter(phases.values()))
    if s > 1:
        zeros = ""
        if len(phases) < s * s:
            zeros = graph.node("Mul", whole, graph.constant(0, np.float32))
        parts = [phases.get((row, column), zeros) for row in range(s) for column in range(s)]
        whole = graph.node("DepthToSpace", graph.node("Concat", *parts, axis=1), blocksize=s)
    # Negative pads crop.
    ends = [size - (s * count - window.padding) for size, count in zip(shape[1:], blocks, strict=True)]
    if window.padding or any(ends):
        pads = [0, 0, -window.padding, -window.padding, 0, 0, *ends]
        whole = graph.node("Pad", whole, graph.constant(pads, np.int64))
    return whole
