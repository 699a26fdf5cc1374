"""Quantized layers whose scales are learned (LSQ: Esser et al., arXiv 1902.08153), for networks trained in float first.

Weights have one scale for each output channel and symmetric levels; activations one for each layer. Scales are
parameters by their logarithm, so that steps are relative and a scale stays above 0. All gradients follow from
straight-through rounding: d(s round(x / s)) / ds is round(x / s) - x / s inside the range and the top level beyond it.
"""

from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.integer import (
    MOST_BIAS,
    Dequantize,
    Grid,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerLinear,
    IntegerResidual,
    Output,
    per_channel,
    scaled,
    window_sums,
)
from models.quantizers import round_ste, top_level

BRANCH = Output(8, signed=True)
"""What the branches of a residual block give before they are added."""
SMALLEST_SCALE = 1e-8


class Scale(nn.Module):
    """What a level is worth: a learned positive number."""

    def __init__(self, value: float, learned: bool = True) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(value).clamp(min=SMALLEST_SCALE).log(), requires_grad=learned)

    def forward(self) -> Tensor:
        return self.log.exp()


def symmetric_top(bits: int) -> int:
    """The largest weight level: 2^(k-1) - 1, and 1 for one bit, whose levels are -1 and 1."""
    return max(1, (1 << (bits - 1)) - 1)


class Levels(TypedDict):
    """The levels of a layer's weights, and those that come in and go out.

    `out`: the scale of those that go out and how many of them are worth one unit of it; None for floats.
    """

    weight_bits: int
    in_bits: int
    in_scale: Scale
    out: tuple[Scale, float] | None
    output: Output


class _Learned(nn.Module):
    """Weights and bias of a float layer, their scales, and the scales of the levels that come in and go out."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, **levels: Unpack[Levels]) -> None:
        super().__init__()
        weight, bias, out = layer.weight, layer.bias, levels["out"]
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else bias.detach().clone())
        self.weight_bits, self.in_bits, self.output = levels["weight_bits"], levels["in_bits"], levels["output"]
        self.log_weight_scale = nn.Parameter(best_scales(self.weight.detach(), self.weight_bits).log())
        self.in_scale = levels["in_scale"]
        self.out_scale = None if out is None else out[0]
        self._per_unit = 1.0 if out is None else out[1]

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight levels [O, ...], bias in units of the sums [O], multiplier [O]."""
        in_scale = self.in_scale()
        least = self.bias.detach().abs() / (in_scale.detach() * MOST_BIAS)  # of weights that are next to nothing
        scale = torch.maximum(self.log_weight_scale.exp(), least)
        weight = weight_levels(self.weight, scale, self.weight_bits)
        unit = scale * in_scale
        bias = round_ste(self.bias / unit)
        return weight, bias, unit if self.out_scale is None else unit * self._per_unit / self.out_scale()

    def _finished(self, sums: Tensor, bias: Tensor, multiplier: Tensor) -> Tensor:
        return scaled(sums + per_channel(bias, sums), multiplier, self.output)


class LearnedConv2d(_Learned):
    """IntegerConv2d in training, made from a float convolution; see _Learned."""

    def __init__(self, conv: nn.Conv2d, **levels: Unpack[Levels]) -> None:
        super().__init__(conv, **levels)
        self.stride, self.padding, self.groups = conv.stride[0], int(conv.padding[0]), conv.groups

    def forward(self, levels: Tensor) -> Tensor:
        weight, bias, multiplier = self._parts()
        sums = functional.conv2d(levels, weight, stride=self.stride, padding=self.padding, groups=self.groups)
        return self._finished(sums, bias, multiplier)

    def frozen(self) -> IntegerConv2d:
        """The same layer with its weights fixed to their levels."""
        with torch.no_grad():
            weight, bias, multiplier = (part.clone() for part in self._parts())
        return IntegerConv2d(
            weight,
            multiplier,
            bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            weight_bits=self.weight_bits,
            in_bits=self.in_bits,
            output=self.output,
            grid=_grid(self.weight_bits),
        )


class LearnedLinear(_Learned):
    """IntegerLinear in training, made from a float linear layer; see _Learned."""

    def forward(self, levels: Tensor) -> Tensor:
        weight, bias, multiplier = self._parts()
        return self._finished(functional.linear(levels, weight), bias, multiplier)

    def frozen(self) -> IntegerLinear:
        """The same layer with its weights fixed to their levels."""
        with torch.no_grad():
            weight, bias, multiplier = (part.clone() for part in self._parts())
        return IntegerLinear(
            weight,
            multiplier,
            bias,
            weight_bits=self.weight_bits,
            in_bits=self.in_bits,
            output=self.output,
            grid=_grid(self.weight_bits),
        )


class LearnedResidual(IntegerResidual):
    """IntegerResidual in training: rounding is straight-through in both."""

    def frozen(self) -> IntegerResidual:
        """The same block with the weights in it fixed to their levels."""
        branch, shortcut = (
            nn.Sequential(*(layer.frozen() if isinstance(layer, LearnedConv2d) else layer for layer in part))
            for part in (self.branch, self.shortcut)
        )
        return IntegerResidual(branch, shortcut, unit=self.unit, bits=self.bits)


class LearnedAvgPool2d(nn.Module):
    """IntegerAvgPool2d of the whole map in training: levels [N, C, k, k] to levels [N, C, 1, 1] of `bits`."""

    def __init__(self, kernel: int, *, in_scale: Scale, out_scale: Scale, bits: int) -> None:
        super().__init__()
        self.kernel, self.in_scale, self.out_scale, self.output = kernel, in_scale, out_scale, Output(bits)

    def forward(self, levels: Tensor) -> Tensor:
        return scaled(window_sums(levels, self.kernel, self.kernel), self._multiplier(), self.output)

    def frozen(self) -> IntegerAvgPool2d:
        with torch.no_grad():
            return IntegerAvgPool2d(self.kernel, self.kernel, self._multiplier().clone(), self.output)

    def _multiplier(self) -> Tensor:
        multiplier: Tensor = self.in_scale() / (self.kernel**2 * self.out_scale())
        return multiplier


class LearnedDequantize(nn.Module):
    """Dequantize in training."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, levels: Tensor) -> Tensor:
        values: Tensor = levels * self.scale()
        return values

    def frozen(self) -> Dequantize:
        return Dequantize(self.scale().detach().clone())


def weight_levels(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Symmetric levels -m..m of weights [O, ...] with one scale for each output channel [O]; -1 and 1 at one bit."""
    ratio = weight / scale.view(-1, *[1] * (weight.dim() - 1))
    top = symmetric_top(bits)
    if bits == 1:
        return 2 * round_ste((ratio.clamp(-1, 1) + 1) / 2) - 1
    return round_ste(ratio.clamp(-top, top))


def best_scales(weight: Tensor, bits: int, candidates: int = 40) -> Tensor:
    """For each output channel the scale, of `candidates`, with the smallest mean squared error; float32 [O].

    At one bit that is the mean of the absolute weights (Rastegari et al., arXiv 1603.05279, equation 6).
    """
    flat = weight.flatten(1)
    if bits == 1:
        return flat.abs().mean(dim=1).clamp(min=SMALLEST_SCALE)
    largest = flat.abs().amax(dim=1).clamp(min=SMALLEST_SCALE) / symmetric_top(bits)
    shares = torch.linspace(1, 0.3, candidates)
    errors = torch.stack(
        [
            (weight_levels(flat, largest * share, bits) * (largest * share)[:, None] - flat).square().sum(dim=1)
            for share in shares
        ]
    )
    return largest * shares[errors.argmin(dim=0)]


def best_activation_scale(values: Tensor, bits: int, candidates: int = 60) -> float:
    """The scale with the smallest mean squared error for values >= 0 as levels 0..2^bits - 1."""
    sample = values.flatten()[:: max(1, values.numel() // 200_000)].clamp(min=0)
    top = top_level(bits)
    scales = torch.linspace(0.1, 1, candidates) * sample.max().clamp(min=SMALLEST_SCALE) / top
    errors = torch.stack([(round_ste(sample / s).clamp(0, top) * s - sample).square().mean() for s in scales])
    return float(scales[int(errors.argmin())])


def _grid(bits: int) -> Grid:
    return "odd" if bits == 1 else "symmetric"
