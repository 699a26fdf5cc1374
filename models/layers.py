"""Layers that compute on integer levels, exactly as the exported kernels do."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.quantizers import Rounding, activation_levels, requantized_levels, top_level, weight_levels

EXACT_FLOAT32_SUMS = 2**24
"""Integer sums below this are exact in float32, whatever the order they are added in."""


class QuantizeInput(nn.Module):
    """Image float32 [N, C, H, W] in [0, 1] to its levels, integers 0..2^bits - 1 of the same shape."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, image: Tensor) -> Tensor:
        return activation_levels(image, self.bits)


class IntegerConv2d(nn.Module):
    """Convolution without bias over integer levels, ReLU, then levels for the next layer or float values.

    In: levels float32 [N, C, H, W]. Out: levels of `out_bits` bits, [N, O, H', W'], or, when that is None, the
    convolution's float values without ReLU. The sums are exact integers, as float32 or, where that could not hold them,
    float64; requantizing is one float32 product, rounded half to even, as `QLinearConv` does it; ReLU is the lower end
    of its clip. The weights are fixed.
    """

    weight: Tensor
    multiplier: Tensor

    def __init__(
        self,
        weight: Tensor,
        multiplier: Tensor,
        *,
        stride: int,
        padding: int,
        weight_bits: int,
        in_bits: int,
        out_bits: int | None,
    ) -> None:
        """`weight`: integer levels [O, C, k, k]; `multiplier`: what a unit of the sums is worth, float32 [] or [O]."""
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("multiplier", multiplier)
        self.stride, self.padding = stride, padding
        self.weight_bits, self.in_bits, self.out_bits = weight_bits, in_bits, out_bits
        largest_sum = weight.abs().flatten(1).sum(dim=1).max().item() * top_level(in_bits)
        self._sum_dtype = torch.float32 if largest_sum < EXACT_FLOAT32_SUMS else torch.float64

    def forward(self, levels: Tensor) -> Tensor:
        sums = functional.conv2d(
            levels.to(self._sum_dtype), self.weight.to(self._sum_dtype), stride=self.stride, padding=self.padding
        )
        return _scaled(sums.float(), self.multiplier, self.out_bits, "nearest")


class QuantConv2d(nn.Module):
    """IntegerConv2d in training: its levels come from float weights, with straight-through gradients."""

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        weight_bits: int,
        in_bits: int,
        out_bits: int | None,
        rounding: Rounding = "nearest",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(filters, channels, kernel, kernel))
        nn.init.xavier_uniform_(self.weight)
        self.stride, self.padding = stride, padding
        self.weight_bits, self.in_bits, self.out_bits, self.rounding = weight_bits, in_bits, out_bits, rounding

    def forward(self, levels: Tensor) -> Tensor:
        rounding = self.rounding if self.training else "nearest"
        weight, multiplier = self._levels_and_multiplier(rounding)
        sums = functional.conv2d(levels, weight, stride=self.stride, padding=self.padding)
        return _scaled(sums, multiplier, self.out_bits, rounding)

    def frozen(self) -> IntegerConv2d:
        """The same layer with its weights fixed to their levels."""
        with torch.no_grad():
            weight, multiplier = self._levels_and_multiplier("nearest")
        return IntegerConv2d(
            weight,
            multiplier,
            stride=self.stride,
            padding=self.padding,
            weight_bits=self.weight_bits,
            in_bits=self.in_bits,
            out_bits=self.out_bits,
        )

    def _levels_and_multiplier(self, rounding: Rounding) -> tuple[Tensor, Tensor]:
        weight, scale = weight_levels(self.weight, self.weight_bits, rounding)
        top = 1 if self.out_bits is None else top_level(self.out_bits)
        return weight, (scale.double() * top / top_level(self.in_bits)).float()


def _scaled(sums: Tensor, multiplier: Tensor, out_bits: int | None, rounding: Rounding) -> Tensor:
    per_unit = multiplier if multiplier.dim() == 0 else multiplier.view(1, -1, 1, 1)
    return sums * per_unit if out_bits is None else requantized_levels(sums, per_unit, out_bits, rounding)


def freeze(network: nn.Sequential) -> nn.Sequential:
    """The network for inference: quantized layers with their weights fixed to levels, the float layers shared."""
    return nn.Sequential(*(layer.frozen() if isinstance(layer, QuantConv2d) else layer for layer in network)).eval()
