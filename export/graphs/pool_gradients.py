"""Gradient graphs' rules for pools."""

from math import ceil, log2

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

FAR_BELOW = 2.0**126
"""Turns any difference of two floats that matters into one larger than an image."""


def max_pool(layer: nn.MaxPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """The gradient goes to the first of the largest, row by row, as in torch."""
    window, shape = window_of(layer), graph.shape_of(x)
    if window.tiles(shape):
        by_kind = _levels_and_places if graph.zero_point_of(x) is not None else _floats_and_places
        y, places = by_kind(layer, graph, x)
        size = [window.kernel] * 2
        return y, lambda dy: graph.node("MaxUnpool", dy, places, kernel_shape=size, strides=size)
    y = float_layers.max_pool(layer, graph, x)
    chosen = _first_of_largest(graph, x, y, window, shape)
    return y, lambda dy: from_taps(
        graph, {tap: masked(graph, dy, where) for tap, where in chosen.items()}, window, shape
    )


def _levels_and_places(layer: nn.MaxPool2d, graph: GraphBuilder, x: str) -> tuple[str, str]:
    """The pooled levels uint8, and their places (see `_places`), of windows that tile the image.

    One pool of floats gives both: each level times a power of 2, less how far its pixel is from its window's first.
    ONNX Runtime's pool of uint8 takes 20 times as long, its strided slices 4 times.
    """
    window, shape = window_of(layer), graph.shape_of(x)
    behind, zero = _behind(window, shape), graph.constant(0, np.uint8)
    unit = graph.constant(2.0 ** ceil(log2(4 * behind.max() + 1)), np.float32)
    ranks = graph.node("DequantizeLinear", x, unit, zero)
    ranks = graph.node("Sub", ranks, graph.constant(behind, np.float32), shape=shape)
    best = float_layers.max_pool(layer, graph, ranks)
    out, zero_point = graph.shape_of(best), graph.zero_point_of(x)
    y = graph.node("QuantizeLinear", best, unit, zero, shape=out, zero_point=zero_point)
    distance = graph.node("Sub", graph.node("DequantizeLinear", y, unit, zero), best)
    return y, _places(graph, distance, window, shape)


def _floats_and_places(layer: nn.MaxPool2d, graph: GraphBuilder, x: str) -> tuple[str, str]:
    """The pooled floats, and their places (see `_places`), of windows that tile the image.

    What is smaller than its window's largest falls far below; of what is left a second pool finds the first pixel.
    ONNX Runtime's own indices of MaxPool take 4 times as long as all of this.
    """
    window, shape = window_of(layer), graph.shape_of(x)
    y = float_layers.max_pool(layer, graph, x)
    times = graph.constant([1, 1, window.kernel, window.kernel], np.float32)
    spread_out = graph.node(
        "Resize", y, "", times, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    below = graph.node("Mul", graph.node("Sub", x, spread_out), graph.constant(FAR_BELOW, np.float32))
    ranks = graph.node("Sub", below, graph.constant(_behind(window, shape), np.float32), shape=shape)
    return y, _places(graph, graph.node("Neg", float_layers.max_pool(layer, graph, ranks)), window, shape)


def _behind(window: Window, shape: Shape) -> NDArray[np.int64]:
    """How far each pixel is from the first one of its window in the flat image: [H, W]."""
    (_, height, width), k = shape, window.kernel
    return (np.arange(height) % k * width)[:, None] + (np.arange(width) % k)[None]


def _places(graph: GraphBuilder, distance: str, window: Window, shape: Shape) -> str:
    """Where in the flat batch [N, *shape] each largest value is, int64 [N, C, H', W'], by its `distance` from the first
    pixel of its window, float32 [N, C, H', W']. Floats hold places within an image exactly."""
    corners = np.arange(int(np.prod(shape))).reshape(shape)[:, :: window.stride, :: window.stride]
    within = graph.node("Add", distance, graph.constant(corners, np.float32))
    count = graph.node("Gather", graph.node("Shape", distance), graph.constant(0, np.int64))
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    images = graph.node("Reshape", graph.node("Range", zero, count, one), graph.constant([-1, 1, 1, 1], np.int64))
    starts = graph.node("Mul", images, graph.constant(int(np.prod(shape)), np.int64))
    return graph.node("Add", graph.node("Cast", within, to=TensorProto.INT64), starts)


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
    """Each pixel's gradient is the sum of those of the windows that see it, over their size."""
    window, shape = window_of(layer), graph.shape_of(x)
    share = graph.constant(1 / window.kernel**2, np.float32)
    y = float_layers.average_pool(layer, graph, x)
    return y, lambda dy: spread(graph, graph.node("Mul", dy, share), window, shape)


def global_average_pool(layer: nn.AdaptiveAvgPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """Each pixel's gradient is its channel's over the number of pixels."""
    _, height, width = graph.shape_of(x)
    share = graph.constant(np.full((1, 1, height, width), 1 / (height * width)), np.float32)
    return float_layers.global_average_pool(layer, graph, x), lambda dy: graph.node("Mul", dy, share)


def integer_average_pool(layer: IntegerAvgPool2d, graph: GraphBuilder, x: str) -> tuple[str, Backward]:
    """As `average_pool`, times the multiplier; straight through the rounding, and none where levels are clipped."""
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
