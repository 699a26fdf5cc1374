"""DoReFa quantizers (Zhou et al., arXiv 1606.06160) as integer levels, with straight-through gradients.

Levels are integers held in float tensors: a convolution over them is exact in float32 as long as its sums stay below
2^24, so PyTorch, the int8 kernels and the gradient graphs agree to the last integer.
"""

from typing import Any

import torch
from torch import Tensor


class _RoundStraightThrough(torch.autograd.Function):
    """Round half to even; the gradient passes as if it were the identity."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def round_ste(x: Tensor) -> Tensor:
    """Round to integers, half to even; the gradient is the identity (straight-through estimator).

    >>> x = torch.tensor([0.4, 0.5, 1.5], requires_grad=True)
    >>> y = round_ste(x)
    >>> y.tolist()
    [0.0, 0.0, 2.0]
    >>> y.sum().backward()
    >>> x.grad.tolist()
    [1.0, 1.0, 1.0]
    """
    rounded: Tensor = _RoundStraightThrough.apply(x)  # type: ignore[no-untyped-call]
    return rounded


def top_level(bits: int) -> int:
    """n = 2^k - 1: the largest level of k unsigned bits."""
    return (1 << bits) - 1


def activation_levels(x: Tensor, bits: int) -> Tensor:
    """Levels n q_k(clip(x, 0, 1)) of DoReFa's activations: integers 0..n, n = 2^k - 1, of x's shape.

    The gradient is n inside [0, 1] and 0 outside.

    >>> x = torch.tensor([-0.2, 0.4, 0.9, 1.3], requires_grad=True)
    >>> y = activation_levels(x, bits=2)
    >>> y.tolist()
    [0.0, 1.0, 3.0, 3.0]
    >>> y.sum().backward()
    >>> x.grad.tolist()
    [0.0, 3.0, 3.0, 0.0]
    """
    return round_ste(x.clamp(0, 1) * top_level(bits))


def requantized_levels(sums: Tensor, multiplier: Tensor | float, levels: int | tuple[int, int]) -> Tensor:
    """Levels clip(round(sums x multiplier), low, high) as integer kernels do: a float32 product, half to even.

    `levels` is their lowest and highest, or a number of bits k, for 0 and 2^k - 1.

    `multiplier` is a number, or a tensor that broadcasts over `sums` [N, C, H, W] (one for each channel).
    The gradient is the multiplier where low <= round(sums x multiplier) <= high, else 0.
    """
    low, high = (0, top_level(levels)) if isinstance(levels, int) else levels
    return round_ste(sums * multiplier).clamp(low, high)


def weight_levels(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Integer levels and scale of a weight tensor [O, ...]: the quantized weight is levels x scale.

    Up to 7 bits it is DoReFa's w = 2 q_k(tanh W / (2 max|tanh W|) + 1/2) - 1: odd integers 2q - n, scale 1/n ([]).
    At 8 bits those would not fit int8, so levels are symmetric, -127..127, with one scale for each output channel,
    max|W| / 127 (shape [O]).

    >>> weight = torch.tensor([[-2.0, -0.1, 0.2, 2.0]], requires_grad=True)
    >>> levels, scale = weight_levels(weight, bits=2)
    >>> levels.tolist(), round(scale.item(), 4)
    ([[-3.0, -1.0, 1.0, 3.0]], 0.3333)
    """
    if bits == 8:
        scale = weight.detach().flatten(1).abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        levels = round_ste(weight / scale.view(-1, *[1] * (weight.dim() - 1)))
        return levels.clamp(-127, 127), scale
    n = top_level(bits)
    bounded = torch.tanh(weight)
    unit = bounded / (2 * bounded.abs().max()) + 0.5
    return 2 * round_ste(unit * n) - n, torch.tensor(1 / n)
