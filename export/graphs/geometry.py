"""Where convolutions and pools look: kernel, stride, padding, and the shapes that follow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from export.graphs.graph import Shape
from models.integer import IntegerAvgPool2d, IntegerConv2d


@dataclass(frozen=True)
class Window:
    """A square kernel that moves over an image (C, H, W) padded by `padding` on all sides; `ceil`: the last one may
    reach beyond, if it begins inside."""

    kernel: int
    stride: int
    padding: int = 0
    groups: int = 1
    ceil: bool = False

    def counts(self, shape: Shape) -> Shape:
        """How many places it has, (H', W')."""
        return tuple(self._count(size) for size in shape[1:])

    def _count(self, size: int) -> int:
        room = size + 2 * self.padding - self.kernel
        if not self.ceil:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        begins_inside = (count - 1) * self.stride < size + self.padding
        return count if begins_inside else count - 1

    def ends(self, shape: Shape) -> Shape:
        """Padding behind the last row and column, so that exactly `counts` places fit."""
        reached = ((count - 1) * self.stride + self.kernel for count in self.counts(shape))
        return tuple(max(0, end - size - self.padding) for end, size in zip(reached, shape[1:], strict=True))

    def covers(self, shape: Shape) -> bool:
        """Whether the kernel is as large as its input: a convolution is then a matrix product."""
        return self.padding == 0 and self.groups == 1 and shape[1:] == (self.kernel, self.kernel)

    def tiles(self, shape: Shape) -> bool:
        """Whether its places cover the image once, without padding."""
        fits = all(size % self.stride == 0 for size in shape[1:])
        return self.kernel == self.stride and self.padding == 0 and fits

    def attributes(self, shape: Shape) -> dict[str, Any]:
        """Of an ONNX node, but for kernel_shape."""
        pads = [self.padding] * 2 + list(self.ends(shape))
        groups = {} if self.groups == 1 else {"group": self.groups}
        return {"strides": [self.stride] * 2, "pads": pads} | groups


Windowed = nn.Conv2d | IntegerConv2d | nn.MaxPool2d | nn.AvgPool2d | IntegerAvgPool2d


def window_of(layer: Windowed) -> Window:
    """Raises TypeError for what no rule exports: dilation, uneven sizes, padding that is not of zeros."""
    match layer:
        case IntegerConv2d():
            return Window(layer.weight.shape[2], layer.stride, layer.padding, layer.groups)
        case IntegerAvgPool2d():
            return Window(layer.kernel, layer.stride)
        case nn.Conv2d():
            if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
                raise TypeError(f"no rule to export this padding: {layer}")
            _single(layer.dilation, layer, allowed=1)
            kernel, stride = _single(layer.kernel_size, layer), _single(layer.stride, layer)
            return Window(kernel, stride, _single(layer.padding, layer), layer.groups)
        case nn.MaxPool2d():
            _single(layer.dilation, layer, allowed=1)
            kernel, stride = _single(layer.kernel_size, layer), _single(layer.stride, layer)
            return Window(kernel, stride, _single(layer.padding, layer), ceil=layer.ceil_mode)
        case nn.AvgPool2d():
            plain = not layer.ceil_mode and layer.divisor_override is None
            if not plain or _single(layer.padding, layer) != 0:
                raise TypeError(f"no rule to export padding, ceil_mode or a divisor: {layer}")
            return Window(_single(layer.kernel_size, layer), _single(layer.stride, layer))


def _single(value: int | tuple[int, ...], layer: nn.Module, allowed: int | None = None) -> int:
    numbers = set(np.atleast_1d(value).tolist())
    if len(numbers) > 1 or (allowed is not None and numbers != {allowed}):
        raise TypeError(f"no rule to export dilation, or uneven strides and padding: {layer}")
    return int(numbers.pop())
