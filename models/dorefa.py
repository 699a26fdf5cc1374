"""Layers in training with DoReFa's fixed grids (Zhou et al., arXiv 1606.06160), as EMPIR uses them.

They compute on integer levels like the layers of integer.py, which `frozen` gives; gradients are straight-through.
"""

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch_norm import BatchNorm, affine
from models.integer import (
    EXACT_FLOAT32_SUMS,
    MOST_BIAS,
    WIDE_BITS,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerLinear,
    Output,
    per_channel,
    scaled,
    window_sums,
)
from models.quantizers import requantized_levels, round_ste, top_level, weight_levels

MOST_SATURATED = 1e-3
"""Share of sums that may lie beyond 8 bits before QuantConvAvgPool2d doubles its unit."""


class Bits(TypedDict):
    """Of the weights, and of the levels that come in and go out (None: floats)."""

    weight_bits: int
    in_bits: int
    out_bits: int | None


class _Quantized(nn.Module):
    """Weights with their quantizer, and what follows the sums: batch norm, then levels or floats."""

    def __init__(self, weight: Tensor, *, batch_norm: bool, **bits: Unpack[Bits]) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        nn.init.xavier_uniform_(self.weight)
        norm = nn.BatchNorm2d if weight.dim() == 4 else nn.BatchNorm1d
        self.norm: BatchNorm | None = norm(weight.shape[0]) if batch_norm else None
        self.weight_bits, self.in_bits, self.out_bits = bits["weight_bits"], bits["in_bits"], bits["out_bits"]

    def _levels_and_unit(self) -> tuple[Tensor, Tensor]:
        """Weight levels, and what a unit of the sums is worth, float64 [] or [O]."""
        weight, scale = weight_levels(self.weight, self.weight_bits)
        return weight, scale.double() / top_level(self.in_bits)

    def _finished(self, sums: Tensor, unit: Tensor) -> Tensor:
        top = 1 if self.out_bits is None else top_level(self.out_bits)
        if self.norm is None:
            return scaled(sums, (unit * top).float(), Output(self.out_bits))
        values = self.norm(sums * per_channel(unit.float(), sums))
        return values if self.out_bits is None else requantized_levels(values, top, self.out_bits)

    def _frozen_parts(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weight levels, multiplier and bias when fixed; batch norm is folded in, gamma's sign in the weights."""
        with torch.no_grad():
            weight, unit = self._levels_and_unit()
            top = 1 if self.out_bits is None else top_level(self.out_bits)
            if self.norm is None:
                return weight, (unit * top).float(), None
            gain, offset = affine(self.norm)
            sign = torch.where(gain < 0, -1.0, 1.0)
            # At least what its bias needs to fit: of such a channel the sums are next to nothing.
            least = (offset.abs() / MOST_BIAS).clamp(min=torch.finfo(torch.float32).tiny)
            per_unit = torch.maximum(gain.abs() * unit, least)
            bias = torch.round(offset / per_unit)
            flipped = weight * sign.float().view(-1, *[1] * (weight.dim() - 1))
            return flipped, (per_unit * top).float(), bias


class QuantConv2d(_Quantized):
    """IntegerConv2d in training: its levels come from float weights, with straight-through gradients.

    With `batch_norm` the sums go through one before they are rounded; frozen, it is a multiplier and an integer bias
    for each channel.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        batch_norm: bool = False,
        **bits: Unpack[Bits],
    ) -> None:
        super().__init__(torch.empty(filters, channels // groups, kernel, kernel), batch_norm=batch_norm, **bits)
        self.stride, self.padding, self.groups = stride, padding, groups

    def forward(self, levels: Tensor) -> Tensor:
        weight, unit = self._levels_and_unit()
        return self._finished(self._convolved(levels, weight), unit)

    def frozen(self) -> IntegerConv2d:
        """The same layer with its weights fixed to their levels."""
        weight, multiplier, bias = self._frozen_parts()
        return self._integer(weight, multiplier, bias, Output(self.out_bits))

    def _convolved(self, levels: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(levels, weight, stride=self.stride, padding=self.padding, groups=self.groups)

    def _integer(self, weight: Tensor, multiplier: Tensor, bias: Tensor | None, output: Output) -> IntegerConv2d:
        return IntegerConv2d(
            weight,
            multiplier,
            bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            weight_bits=self.weight_bits,
            in_bits=self.in_bits,
            output=output,
        )


class FineConv2d(QuantConv2d):
    """A first layer in full precision that every library computes alike: levels of 8 bits times weights of about 11.

    Behind a float convolution two libraries round about one value in a million to different levels, each of which
    changes the answer. Here the weights of a filter are integers with the smallest unit that keeps its sums below 2^24,
    where float32 is exact.
    """

    def __init__(self, channels: int, filters: int, kernel: int, *, stride: int, out_bits: int) -> None:
        super().__init__(channels, filters, kernel, stride=stride, weight_bits=WIDE_BITS, in_bits=8, out_bits=out_bits)

    def _levels_and_unit(self) -> tuple[Tensor, Tensor]:
        top, rounded_up = top_level(self.in_bits), self.weight[0].numel() / 2
        largest = self.weight.detach().abs().flatten(1).sum(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        scale = largest / ((EXACT_FLOAT32_SUMS - 1) / top - rounded_up)
        return round_ste(self.weight / scale.view(-1, 1, 1, 1)), scale.double() / top


class QuantConvAvgPool2d(QuantConv2d):
    """Convolution, ReLU and average pool, with levels of 8 bits between the two.

    The pool must see more bits than the next layer takes: `sums / 2^shift`, rounded half to even and clipped to
    0..255, is what `QLinearConv` gives it. The shift grows in training while more than 0.1% of the
    sums lie beyond.
    This is the one deviation from the paper, whose pool averages floats.
    """

    shift: Tensor

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        *,
        padding: int,
        pool: int,
        pool_stride: int,
        **bits: Unpack[Bits],
    ) -> None:
        super().__init__(channels, filters, kernel, padding=padding, **bits)
        self.pool, self.pool_stride = pool, pool_stride
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, levels: Tensor) -> Tensor:
        weight, unit = self._levels_and_unit()
        sums = self._convolved(levels, weight)
        if self.training:
            with torch.no_grad():
                self.shift += (sums > 255 * 2**self.shift).float().mean() > MOST_SATURATED
        wide = requantized_levels(sums, 2**-self.shift, 8)
        pooled = window_sums(wide, self.pool, self.pool_stride)
        return scaled(pooled, self._pool_multiplier(unit), Output(self.out_bits))

    def frozen(self) -> nn.Sequential:  # type: ignore[override]
        """IntegerConv2d to levels of 8 bits, then IntegerAvgPool2d."""
        with torch.no_grad():
            weight, unit = self._levels_and_unit()
            conv = self._integer(weight, (2**-self.shift).clone(), None, Output(8))
            return nn.Sequential(
                conv, IntegerAvgPool2d(self.pool, self.pool_stride, self._pool_multiplier(unit), Output(self.out_bits))
            )

    def _pool_multiplier(self, unit: Tensor) -> Tensor:
        top = 1 if self.out_bits is None else top_level(self.out_bits)
        return (unit * 2 ** self.shift.double() * top / self.pool**2).float()


class QuantLinear(_Quantized):
    """IntegerLinear in training, [N, I] levels to [N, O]; see QuantConv2d."""

    def __init__(self, inputs: int, outputs: int, *, batch_norm: bool = False, **bits: Unpack[Bits]) -> None:
        super().__init__(torch.empty(outputs, inputs), batch_norm=batch_norm, **bits)

    def forward(self, levels: Tensor) -> Tensor:
        weight, unit = self._levels_and_unit()
        return self._finished(functional.linear(levels, weight), unit)

    def frozen(self) -> IntegerLinear:
        weight, multiplier, bias = self._frozen_parts()
        return IntegerLinear(
            weight,
            multiplier,
            bias,
            weight_bits=self.weight_bits,
            in_bits=self.in_bits,
            output=Output(self.out_bits),
            grid="odd",
        )
