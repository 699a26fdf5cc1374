"""Gradient graphs' rules for pools."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from torch import nn

from export.graphs import float_layers, integer_layers
from export.graphs.backward import Backward, from_phases, from_taps, masked
from export.graphs.geometry import Window, window_of
from export.graphs.graph import GraphBuilder, Shape
from export.graphs.products import as_floats, as_levels
from models.integer import IntegerAvgPool2d
from models.quantizers import top_level


def max_pool(layer: nn.MaxPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient goes to the first of the largest, row by row, as in torch."""
    window, shape = window_of(layer), graph.shape_of(x)
    y = float_layers.max_pool(layer, graph, x)
    chosen = _first_of_largest(graph, x, y, window, shape)
    if window.tiles(shape):
        places = _places(graph, chosen, y, window, shape)
        size = [window.kernel] * 2
        return y, lambda dy: graph.node("MaxUnpool", dy, places, kernel_shape=size, strides=size)
    return y, lambda dy: from_taps(
        graph, {tap: masked(graph, dy, where) for tap, where in chosen.items()}, window, shape
    )


def _places(graph: GraphBuilder, chosen: dict[tuple[int, int], str], y: str, window: Window, shape: Shape) -> str:
    """Where in the flat batch [N, *shape] each largest value of windows that tile the image is: int64 [N, C, H', W'].

    ONNX Runtime's own indices of MaxPool cost ten times as much as these.
    """
    (_, _, width), s = shape, window.stride
    within = [
        graph.node(
            "Mul", graph.node("Cast", where, to=TensorProto.INT64), graph.constant(row * width + column, np.int64)
        )
        for (row, column), where in chosen.items()
        if (row, column) != (0, 0)
    ]
    corners = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)[:, ::s, ::s]
    count = graph.node("Gather", graph.node("Shape", y), graph.constant(0, np.int64))
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    images = graph.node("Reshape", graph.node("Range", zero, count, one), graph.constant([-1, 1, 1, 1], np.int64))
    starts = graph.node("Mul", images, graph.constant(int(np.prod(shape)), np.int64))
    return graph.node("Add", _added(graph, [graph.constant(corners, np.int64), *within]), starts)


def _added(graph: GraphBuilder, values: list[str]) -> str:
    total = values[0]
    for value in values[1:]:
        total = graph.node("Add", total, value)
    return total


def _first_of_largest(graph: GraphBuilder, x: str, y: str, window: Window, shape: Shape) -> dict[tuple[int, int], str]:
    """For each row and column in the kernel, where the pool takes the pixel there, bool [N, C, H', W']."""
    before, ends, counts = window.padding, window.ends(shape), window.counts(shape)
    padded = graph.node("Pad", x, graph.constant([0, 0, before, before, 0, 0, *ends], np.int64)) if before else x
    if not before and any(ends):
        padded = graph.node("Pad", x, graph.constant([0, 0, 0, 0, 0, 0, *ends], np.int64))
    inside = _inside(window, shape) if before or any(ends) else None
    chosen: dict[tuple[int, int], str] = {}
    taken = ""
    for row in range(window.kernel):
        for column in range(window.kernel):
            equal = graph.node("Equal", _tap(graph, padded, row, column, window.stride, counts), y)
            if inside is not None and not inside[row, column].all():
                equal = graph.node("And", equal, graph.constant(inside[row, column], np.bool_))
            chosen[row, column] = graph.node("And", equal, graph.node("Not", taken)) if taken else equal
            taken = graph.node("Or", taken, equal) if taken else equal
    return chosen


def _tap(graph: GraphBuilder, x: str, row: int, column: int, stride: int, counts: Shape) -> str:
    """The pixels at one row and column of the kernel, [N, C, H', W']."""
    ends = [start + (count - 1) * stride + 1 for start, count in zip((row, column), counts, strict=True)]
    limits = ([row, column], ends, [2, 3], [stride, stride])
    return graph.node("Slice", x, *(graph.constant(values, np.int64) for values in limits))


def _inside(window: Window, shape: Shape) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """For each row and column in the kernel, where the pixel there is one of the image's, bool [H', W']."""
    axes = []
    for size, count in zip(shape[1:], window.counts(shape), strict=True):
        places = [np.arange(count) * window.stride + tap - window.padding for tap in range(window.kernel)]
        axes.append([(place >= 0) & (place < size) for place in places])
    return {
        (row, column): axes[0][row][:, None] & axes[1][column][None]
        for row in range(window.kernel)
        for column in range(window.kernel)
    }


def average_pool(layer: nn.AvgPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    window, shape = window_of(layer), graph.shape_of(x)
    share = graph.constant(1 / window.kernel**2, np.float32)
    y = float_layers.average_pool(layer, graph, x)
    return y, lambda dy: spread(graph, graph.node("Mul", dy, share), window, shape)


def global_average_pool(layer: nn.AdaptiveAvgPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    _, height, width = graph.shape_of(x)
    share = graph.constant(np.full((1, 1, height, width), 1 / (height * width)), np.float32)
    return float_layers.global_average_pool(layer, graph, x), lambda dy: graph.node("Mul", dy, share)


def integer_average_pool(layer: IntegerAvgPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    window, shape = window_of(layer), graph.shape_of(x)
    out = (shape[0], *window.counts(shape))
    stored = graph.parameter("multiplier", layer.multiplier.numpy())
    factor = stored
    if layer.multiplier.dim():
        factor = graph.node("Reshape", stored, graph.constant([-1, 1, 1], np.int64))

    def back(dy: str) -> str:
        return spread(graph, graph.node("Mul", dy, factor), window, shape)

    bits = layer.output.bits
    if bits is not None and bits < 8:
        rounded = integer_layers.pooled_by_kernel(layer, graph, as_levels(graph, x), stored)
        levels = integer_layers.within(graph, rounded, layer.output)
    else:
        values = graph.node("Mul", integer_layers.window_sums(layer, graph, as_floats(graph, x)), factor, shape=out)
        if bits is None:
            return values, back
        rounded = graph.node("Round", values)
        limits = (graph.constant(0, np.float32), graph.constant(top_level(bits), np.float32))
        levels = graph.node("Clip", rounded, *limits, shape=out)
    inside = graph.node("Equal", rounded, levels)
    return levels, lambda dy: back(masked(graph, dy, inside))


def spread(graph: GraphBuilder, dy: str, window: Window, shape: Shape) -> str:
    """Each place's gradient to all pixels of its window: for each phase a sum over the places that see it."""
    s, k, counts = window.stride, window.kernel, window.counts(shape)
    more = (k - 1) // s
    pads = graph.constant([0, 0, more, more] * 2, np.int64)
    padded = graph.node("Pad", dy, pads) if more else dy
    blocks = [count + more for count in counts]
    seen = [len(range(phase, k, s)) for phase in range(s)]
    phases = {
        (row, column): _box(graph, padded, (seen[row], seen[column]), more, blocks)
        for row in range(min(s, k))
        for column in range(min(s, k))
    }
    return from_phases(graph, phases, blocks, window, shape)


def _box(graph: GraphBuilder, padded: str, size: tuple[int, int], more: int, blocks: list[int]) -> str:
    """Sums [N, C, *blocks] over boxes that end at each place of an image padded by `more` on all sides."""
    starts = [more + 1 - side for side in size]
    ends = [start + count + side - 1 for start, count, side in zip(starts, blocks, size, strict=True)]
    limits = (graph.constant(values, np.int64) for values in (starts, ends, [2, 3]))
    part = graph.node("Slice", padded, *limits)
    if size == (1, 1):
        return part
    mean = graph.node("AveragePool", part, kernel_shape=list(size))
    return graph.node("Mul", mean, graph.constant(size[0] * size[1], np.float32))
