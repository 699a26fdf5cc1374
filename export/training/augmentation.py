"""Augmentation: training images moved and mirrored at random."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Literal["none", "crop_and_flip"]

PADDING = 4


def augmented(images: Tensor, augmentation: Augmentation) -> Tensor:
    """`crop_and_flip`: each image of [N, C, H, W] moved by up to 4 pixels, black moving in, half of them mirrored.

    Chance is torch's global generator.
    """
    if augmentation == "none":
        return images
    n, _, height, width = images.shape
    padded = functional.pad(images, (PADDING,) * 4)
    moves = torch.randint(0, 2 * PADDING + 1, (2, n))
    rows = moves[0][:, None] + torch.arange(height)
    columns = moves[1][:, None] + torch.arange(width)
    columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))
    picked = torch.arange(n)[:, None, None]
    return padded[picked, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
