"""A float network as a quantized one with learned scales: the start of quantization-aware training."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.folding import fold_batch_norm
from models.integer import FLOATS, Output, QuantizeInput
from models.learned import (
    BRANCH,
    LearnedAvgPool2d,
    LearnedConv2d,
    LearnedDequantize,
    LearnedLinear,
    LearnedResidual,
    Levels,
    Scale,
    best_activation_scale,
)
from models.precision import Precision
from models.quantizers import top_level
from models.residual import Residual

IMAGE_BITS = 8
POOLED_BITS = 8
"""Of a global average pool's levels: a mean of many says more than each of them."""


@dataclass(frozen=True)
class EdgeBits:
    """Weight bits, 1 to 8, of the first and of the last layer, which cost little and matter most.

    `last` may be None: then it has 8, or, behind a global average pool, is not quantized at all.
    """

    first: int = 8
    last: int | None = None

    def __post_init__(self) -> None:
        chosen = (self.first,) if self.last is None else (self.first, self.last)
        if not all(1 <= bits <= 8 for bits in chosen):
            raise ValueError(f"edges: expected 1 to 8 bits each, got first={self.first}, last={self.last}")


def quantized(
    network: nn.Sequential, precision: Precision, images: Tensor, edges: EdgeBits = EdgeBits()
) -> nn.Sequential:
    """The float `network` with batch norms folded, every convolution and linear layer quantized, scales learnable.

    Scales start where they lose least on `images` float32 [N, C, H, W] in [0, 1]. Layers behind a global average pool
    stay in float, unless `edges.last` has bits for the last one; the pool then works on levels. Knows what the networks
    here are made of: Conv2d, Linear, ReLU, MaxPool2d, Flatten, Residual, AdaptiveAvgPool2d and batch norm. Raises
    TypeError for anything else.
    """
    with torch.no_grad():
        return _Quantizer(precision, edges).run(list(fold_batch_norm(network.eval())), images)


class _Quantizer:
    """One pass over the layers, with the scale and the bits of the levels that come in."""

    def __init__(self, precision: Precision, edges: EdgeBits) -> None:
        self.precision, self.edges = precision, edges
        self.scale, self.bits = Scale(1 / top_level(IMAGE_BITS), learned=False), IMAGE_BITS
        self.out: list[nn.Module] = [QuantizeInput(IMAGE_BITS)]

    def run(self, layers: list[nn.Module], images: Tensor) -> nn.Sequential:
        values = _outputs(layers, images)
        products = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d | nn.Linear)]
        for index, layer in enumerate(layers):
            match layer:
                case nn.Conv2d() | nn.Linear():
                    self._product(layer, self._weight_bits(index, products), layers[index + 1 :], values[index:])
                case Residual():
                    self._residual(layer, layers[index + 1 :], values[index - 1 :])
                case nn.AdaptiveAvgPool2d() if self.edges.last is None:
                    return nn.Sequential(*self.out, LearnedDequantize(self.scale), *copy.deepcopy(layers[index:]))
                case nn.AdaptiveAvgPool2d():
                    self._global_pool(values[index - 1], values[index])
                case nn.MaxPool2d() | nn.Flatten():
                    self.out.append(layer)
                case nn.ReLU():
                    pass  # the lower end of the clip of the layer before it
                case _:
                    raise TypeError(f"no rule to quantize {type(layer).__name__}")
        return nn.Sequential(*self.out)

    def _weight_bits(self, index: int, products: Sequence[int]) -> int:
        if index == products[0]:
            return self.edges.first
        return (self.edges.last or 8) if index == products[-1] else self.precision.weights

    def _product(self, layer: nn.Module, weight_bits: int, after: list[nn.Module], values: list[Tensor]) -> None:
        """A convolution or linear layer with its ReLU; without one it gives floats."""
        if not (after and isinstance(after[0], nn.ReLU)):
            self.out.append(self._quantized(layer, weight_bits, None, FLOATS))
            return
        stage = [values[1], *values[2 : 2 + _identity_blocks(after[1:])]]
        out = self._new_scale(stage)
        self.out.append(self._quantized(layer, weight_bits, (out, 1.0), Output(self.precision.activations)))
        self.scale, self.bits = out, self.precision.activations

    def _residual(self, block: Residual, after: list[nn.Module], values: list[Tensor]) -> None:
        """Both branches in units of the sum's scale, which blocks with an identity for a shortcut share."""
        before, bits = values[0], self.precision.activations
        stage = values[1 : 2 + _identity_blocks(after)]
        out = self._new_scale(stage) if len(block.shortcut) else self.scale
        unit = branch_unit(bits)
        first, relu, second = block.branch
        assert isinstance(relu, nn.ReLU)
        middle = self._new_scale([relu(first(before))])
        inner = self._quantized(first, self.precision.weights, (middle, 1.0), Output(bits))
        shortcut = [self._quantized(layer, self.precision.weights, (out, unit), BRANCH) for layer in block.shortcut]
        self.scale, self.bits = middle, bits
        outer = self._quantized(second, self.precision.weights, (out, unit), BRANCH)
        self.out.append(LearnedResidual(nn.Sequential(inner, outer), nn.Sequential(*shortcut), unit=unit, bits=bits))
        self.scale = out

    def _global_pool(self, before: Tensor, pooled: Tensor) -> None:
        """Sums of levels over the whole map, which is square, times one multiplier."""
        height, width = before.shape[2:]
        if height != width:
            raise TypeError(f"no rule to quantize an average pool of {height} x {width}: expected a square")
        out = self._new_scale([pooled], POOLED_BITS)
        self.out.append(LearnedAvgPool2d(height, in_scale=self.scale, out_scale=out, bits=POOLED_BITS))
        self.scale, self.bits = out, POOLED_BITS

    def _new_scale(self, values: list[Tensor], bits: int | None = None) -> Scale:
        flat = torch.cat([value.flatten() for value in values])
        return Scale(best_activation_scale(flat, bits or self.precision.activations))

    def _quantized(
        self, layer: nn.Module, weight_bits: int, out: tuple[Scale, float] | None, output: Output
    ) -> LearnedConv2d | LearnedLinear:
        levels = Levels(weight_bits=weight_bits, in_bits=self.bits, in_scale=self.scale, out=out, output=output)
        if isinstance(layer, nn.Conv2d):
            return LearnedConv2d(layer, **levels)
        assert isinstance(layer, nn.Linear)
        return LearnedLinear(layer, **levels)


def branch_unit(bits: int) -> int:
    """How many units of a residual branch are worth one output level of `bits` bits: a power of two.

    With it a branch's signed 8 bits reach from -2^bits to 2^bits output levels, about once the top: for 4 bits it is 8,
    and they reach to 16, where 15 is the top. For 8 bits it is 1, and they reach half way.
    """
    return 1 << max(0, 7 - bits)


def _identity_blocks(layers: list[nn.Module]) -> int:
    """How many residual blocks with an identity for a shortcut come first in `layers`."""
    count = 0
    for layer in layers:
        if not isinstance(layer, Residual) or len(layer.shortcut):
            break
        count += 1
    return count


def _outputs(layers: list[nn.Module], images: Tensor) -> list[Tensor]:
    """What each layer gives for `images`."""
    values = []
    for layer in layers:
        images = layer(images)
        values.append(images)
    return values
