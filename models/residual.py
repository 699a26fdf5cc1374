"""Residual blocks in float: a branch and a shortcut that are added, then ReLU (He et al., arXiv 1512.03385)."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)); an empty shortcut is the identity."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Sequential | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Sequential() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))
