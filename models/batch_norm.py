"""Batch norm at inference: one factor and one offset for each channel."""

import torch
from torch import Tensor, nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def affine(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """gain and offset, float64 [C], of gain x + offset = gamma (x - mean) / sqrt(variance + eps) + beta.

    By the running statistics. Raises ValueError for a batch norm without them.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"expected a batch norm with running statistics, got {norm}")
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return gain, norm.bias.double() - norm.running_mean.double() * gain
