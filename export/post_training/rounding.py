"""Weights to integer levels: the scale with the smallest error, and rounding that makes up for its own errors."""

from dataclasses import dataclass

import torch
from torch import Tensor

RATIOS = tuple(1 - 0.02 * step for step in range(36))
"""The clipping points that are tried, as shares of a row's largest weight."""
DAMPING = 0.01
"""Added to the diagonal of second moments, as a share of its mean."""
BLOCK = 64


@dataclass(frozen=True)
class Levels:
    """Weights [G, O, K] as integer levels times a scale for each row [G, O, 1]."""

    levels: Tensor
    scales: Tensor

    @property
    def weights(self) -> Tensor:
        return self.levels * self.scales


def weighted_scales(weights: Tensor, bits: int, importance: Tensor) -> Tensor:
    """Scales [G, O, 1] of `bits`-bit levels with the smallest squared error for weights [G, O, K].

    `importance` [G, K], the mean square of each input, weighs a weight's error by what it does to the output.
    """
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest: Tensor = weights.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    best: Tensor = torch.full_like(largest, torch.inf)
    scales: Tensor = largest / high
    for ratio in RATIOS:
        candidate = largest * ratio / high
        error = (weights / candidate).round().clamp(low, high) * candidate - weights
        cost = (error.square() * importance[:, None]).sum(dim=-1, keepdim=True)
        scales = torch.where(cost < best, candidate, scales)
        best = torch.minimum(cost, best)
    return scales


def widest_scales(weights: Tensor, bits: int) -> Tensor:
    """Scales [G, O, 1] at which the largest of each row of weights [G, O, K] is the top level."""
    largest: Tensor = weights.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    scales: Tensor = largest / (2 ** (bits - 1) - 1)
    return scales


def nearest(weights: Tensor, scales: Tensor, bits: int) -> Levels:
    """Each weight to its nearest level."""
    return Levels((weights / scales).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), scales)


def compensated(weights: Tensor, scales: Tensor, bits: int, moments: Tensor) -> Levels:
    """Round column by column, and let the columns that are still free make up for each error (GPTQ).

    Weights [G, O, K], scales [G, O, 1], second moments of the inputs [G, K, K]. Frantar et al., arXiv 2210.17323,
    equation 2 and algorithm 1; columns with the largest second moment come first.
    """
    order = moments.diagonal(dim1=-2, dim2=-1).argsort(dim=-1, descending=True)
    columns = order[:, None].expand(-1, weights.shape[1], -1)
    free = weights.gather(-1, columns).clone()
    upper = _inverse_factor(_permuted(_damped(moments), order))
    levels = torch.zeros_like(free)
    for start in range(0, free.shape[-1], BLOCK):
        stop = min(start + BLOCK, free.shape[-1])
        errors = torch.zeros_like(free[..., start:stop])
        for column in range(start, stop):
            chosen = nearest(free[..., column : column + 1], scales, bits)
            levels[..., column : column + 1] = chosen.levels
            pivot = upper[:, column, column][:, None, None]
            error = (free[..., column : column + 1] - chosen.weights) / pivot
            free[..., column:stop] -= error * upper[:, None, column, column:stop]
            errors[..., column - start : column - start + 1] = error
        free[..., stop:] -= errors @ upper[:, start:stop, stop:]
    return Levels(torch.zeros_like(levels).scatter(-1, columns, levels), scales)


def refitted(weights: Tensor, moments: Tensor, cross: Tensor) -> Tensor:
    """Weights [G, O, K] whose outputs on quantized inputs are closest to the outputs of the exact ones.

    moments = E[x' x'^T] [G, K, K] of the quantized inputs x', cross = E[x x'^T] of exact and quantized ones; a ridge
    pulls towards the given weights.
    """
    missing = weights @ (cross - moments)
    change: Tensor = torch.linalg.solve(_damped(moments), missing.mT).mT
    return weights + change


def _damped(moments: Tensor) -> Tensor:
    diagonal = moments.diagonal(dim1=-2, dim2=-1)
    damping = DAMPING * diagonal.mean(dim=-1).clamp(min=1e-12)
    return moments + damping[:, None, None] * torch.eye(moments.shape[-1], dtype=moments.dtype)


def _permuted(moments: Tensor, order: Tensor) -> Tensor:
    size = order.shape[-1]
    rows = moments.gather(1, order[:, :, None].expand(-1, -1, size))
    return rows.gather(2, order[:, None].expand(-1, size, -1))


def _inverse_factor(moments: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse, [G, K, K]."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    factor: Tensor = torch.linalg.cholesky(inverse)
    return factor.mT
