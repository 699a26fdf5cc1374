"""Augmentation: training images moved and mirrored at random."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Literal["none", "crop_and_flip"]

REACH = 1 / 8
"""How far images are moved at most, as a share of their shorter side: 4 of 32 pixels, 28 of 224."""


def augmented(images: Tensor, augmentation: Augmentation) -> Tensor:
    """`crop_and_flip`: each image of [N, C, H, W] moved by up to `REACH`, black moving in, half of them mirrored.

    Chance is torch's global generator.
    """
    if augmentation == "none":
        return images
    n, _, height, width = images.shape
    reach = round(REACH * min(height, width))
    padded = functional.pad(images, (reach,) * 4)
    moves = torch.randint(0, 2 * reach + 1, (2, n))
    rows = moves[0][:, None] + torch.arange(height)
    columns = moves[1][:, None] + torch.arange(width)
    columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))
    picked = torch.arange(n)[:, None, None]
    return padded[picked, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
