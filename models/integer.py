"""Layers that compute on integer levels with fixed weights, exactly as the exported kernels do."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.quantizers import activation_levels, requantized_levels, top_level

EXACT_FLOAT32_SUMS = 2**24
"""Integer sums below this are exact in float32, whatever the order they are added in."""

MOST_BIAS = 2**30
"""Integer biases stay below it, so that kernels add them to their sums in 32 bits."""

WIDE_BITS = 16
"""Weights of more than 8 bits, which integer kernels do not take: float32 computes their sums, exactly."""

Grid = Literal["odd", "symmetric"]
"""Weight levels of k bits: `odd`, DoReFa's 2q - n with q in 0..n, n = 2^k - 1; `symmetric`, -m..m, m = 2^(k-1) - 1."""


class Output(NamedTuple):
    """What a layer gives: levels of `bits` bits, 0..2^bits - 1, signed ones -2^(bits-1)..2^(bits-1) - 1, or floats."""

    bits: int | None
    signed: bool = False

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest level. Raises ValueError for floats, which have none."""
        if self.bits is None:
            raise ValueError("float output has no range of levels")
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, top_level(self.bits))


FLOATS = Output(None)


class QuantizeInput(nn.Module):
    """Floats of any shape, clipped to [0, 1], to their levels 0..2^bits - 1: the image, or what a float layer gives."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, values: Tensor) -> Tensor:
        return activation_levels(values, self.bits)


class Dequantize(nn.Module):
    """Levels to the floats that they stand for, where a float layer follows."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        """`scale`: float32 [], what a level is worth."""
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, levels: Tensor) -> Tensor:
        return levels * self.scale


class _IntegerProduct(nn.Module):
    """What convolutions and linear layers over levels share: fixed weights, exact sums, one multiplier, an output."""

    weight: Tensor
    multiplier: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        multiplier: Tensor,
        bias: Tensor | None,
        *,
        weight_bits: int,
        in_bits: int,
        output: Output,
        grid: Grid,
    ) -> None:
        """`weight`: integer levels [O, ...]; `multiplier`: what a unit of the sums is worth, float32 [] or [O];
        `bias`: integers [O] in units of the sums, held as floats."""
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("multiplier", multiplier)
        self.register_buffer("bias", bias)
        self.weight_bits, self.in_bits, self.output, self.grid = weight_bits, in_bits, output, grid

    @property
    def sum_dtype(self) -> torch.dtype:
        """float32 where it holds every possible sum exactly, else float64."""
        largest = self.weight.abs().flatten(1).sum(dim=1) * top_level(self.in_bits)
        if self.bias is not None:
            largest = largest + self.bias.abs()
        return torch.float32 if largest.max().item() < EXACT_FLOAT32_SUMS else torch.float64

    def _finished(self, sums: Tensor) -> Tensor:
        """Bias, multiplier and rounding; sums [N, O, ...] are exact."""
        if self.bias is not None:
            sums = sums + per_channel(self.bias.to(sums.dtype), sums)
        return scaled(sums.float(), self.multiplier, self.output)


class IntegerConv2d(_IntegerProduct):
    """Convolution over integer levels, then levels for the next layer or float values.

    In: levels float32 [N, C, H, W]. Out: [N, O, H', W'], levels or, without ReLU, float values. The sums are exact
    integers; requantizing is one float32 product, rounded half to even, as `QLinearConv` does it; ReLU is the lower
    end of its clip.
    """

    def __init__(
        self,
        weight: Tensor,
        multiplier: Tensor,
        bias: Tensor | None = None,
        *,
        stride: int,
        padding: int,
        weight_bits: int,
        in_bits: int,
        output: Output,
        groups: int = 1,
        grid: Grid = "odd",
    ) -> None:
        super().__init__(weight, multiplier, bias, weight_bits=weight_bits, in_bits=in_bits, output=output, grid=grid)
        self.stride, self.padding, self.groups = stride, padding, groups

    def forward(self, levels: Tensor) -> Tensor:
        dtype = self.sum_dtype
        sums = functional.conv2d(
            levels.to(dtype), self.weight.to(dtype), stride=self.stride, padding=self.padding, groups=self.groups
        )
        return self._finished(sums)


class IntegerLinear(_IntegerProduct):
    """Fully connected layer over integer levels [N, I], weight [O, I]; out: [N, O], as IntegerConv2d."""

    def forward(self, levels: Tensor) -> Tensor:
        dtype = self.sum_dtype
        return self._finished(functional.linear(levels.to(dtype), self.weight.to(dtype)))


class IntegerAvgPool2d(nn.Module):
    """Average pool without padding: the exact sum of each window of levels times one multiplier (1/k^2 included)."""

    multiplier: Tensor

    def __init__(self, kernel: int, stride: int, multiplier: Tensor, output: Output) -> None:
        """`multiplier`: float32 [] or [C], what a unit of a window's sum is worth."""
        super().__init__()
        self.register_buffer("multiplier", multiplier)
        self.kernel, self.stride, self.output = kernel, stride, output

    def forward(self, levels: Tensor) -> Tensor:
        return scaled(window_sums(levels, self.kernel, self.stride), self.multiplier, self.output)


class IntegerResidual(nn.Module):
    """A residual block on levels: clip(round((branch + shortcut) / unit), 0, n).

    `branch` gives signed 8-bit levels, `unit` of which are worth one output level; so does `shortcut`, or, where that
    is empty, the block's own input levels are taken times `unit`. `unit` is a power of two: nothing is rounded before
    the sum, and so `QLinearAdd` is exact.
    """

    def __init__(self, branch: nn.Sequential, shortcut: nn.Sequential, *, unit: int, bits: int) -> None:
        super().__init__()
        self.branch, self.shortcut, self.unit, self.bits = branch, shortcut, unit, bits

    def forward(self, levels: Tensor) -> Tensor:
        other = self.shortcut(levels) if len(self.shortcut) else levels * self.unit
        return requantized_levels(self.branch(levels) + other, 1 / self.unit, self.bits)


def window_sums(levels: Tensor, kernel: int, stride: int) -> Tensor:
    """The exact sum of each window [N, C, H', W'] of levels [N, C, H, W], no padding."""
    return functional.avg_pool2d(levels, kernel, stride, divisor_override=1)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """A number [] or one for each channel [O], to broadcast over `like` [N, O, ...]."""
    return values if values.dim() == 0 else values.view(1, -1, *[1] * (like.dim() - 2))


def scaled(sums: Tensor, multiplier: Tensor, output: Output) -> Tensor:
    """Sums [N, O, ...] times the multiplier [] or [O]: float values, or levels of `output`."""
    factor = per_channel(multiplier, sums)
    return sums * factor if output.bits is None else requantized_levels(sums, factor, output.range)
