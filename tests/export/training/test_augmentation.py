"""export/training/augmentation.py: every image is a window of itself on black, or of its mirror."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from export.training.augmentation import augmented


def windows(image: Tensor, reach: int) -> list[Tensor]:
    """All places of an image [C, H, W] on black, moved by up to `reach`, and their mirrors, pixel by pixel."""
    _, height, width = image.shape
    found = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            moved = torch.zeros_like(image)
            for row in range(height):
                for column in range(width):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        moved[:, row, column] = image[:, row + down, column + right]
            found += [moved, moved.flip(-1)]
    return found


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(5, 10), width=st.integers(5, 10))
def test_images_are_moved_and_mirrored(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    images = torch.randint(1, 256, (2, 2, height, width), dtype=torch.uint8)
    moved = augmented(images, "crop_and_flip")
    assert moved.dtype == torch.uint8 and moved.shape == images.shape
    for image, found in zip(images, moved, strict=True):
        assert any(torch.equal(found, window) for window in windows(image, reach=1))


@pytest.mark.parametrize(("side", "reach"), [(8, 1), (32, 4), (64, 8), (224, 28)])
def test_each_image_moves_by_itself_by_up_to_an_eighth_of_its_side_and_half_are_mirrored(side: int, reach: int) -> None:
    torch.manual_seed(0)
    ramp = torch.arange(1, side + 1).expand(2000, 1, side, side).to(torch.uint8)
    moved = augmented(ramp, "crop_and_flip")[:, 0, side // 2]
    mirrored = moved[:, side // 2 - 1] > moved[:, side // 2]
    assert 0.45 < mirrored.float().mean() < 0.55
    assert len({bytes(row.numpy()) for row in moved}) == 2 * (2 * reach + 1)


def test_what_chance_does_at_32_pixels_is_what_it_did_when_checkpoints_were_written() -> None:
    torch.manual_seed(0)
    images = torch.arange(3 * 32 * 32).view(1, 3, 32, 32).expand(8, -1, -1, -1)
    middles = augmented(images, "crop_and_flip")[:, 0, 16, 16].tolist()
    assert middles == [652, 395, 468, 590, 625, 590, 621, 429]


def test_without_augmentation_images_stay() -> None:
    images = torch.rand(2, 1, 3, 3)
    assert augmented(images, "none") is images
