"""export/training/augmentation.py: every image is a window of itself on black, or of its mirror."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from export.training.augmentation import PADDING, augmented


def windows(image: Tensor) -> list[Tensor]:
    """All places of an image [C, H, W] on black, moved by up to PADDING, and their mirrors, pixel by pixel."""
    _, height, width = image.shape
    found = []
    for down in range(-PADDING, PADDING + 1):
        for right in range(-PADDING, PADDING + 1):
            moved = torch.zeros_like(image)
            for row in range(height):
                for column in range(width):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        moved[:, row, column] = image[:, row + down, column + right]
            found += [moved, moved.flip(-1)]
    return found


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 4), width=st.integers(1, 4))
def test_images_are_moved_and_mirrored(seed: int, height: int, width: int) -> None:
    torch.manual_seed(seed)
    images = torch.randint(1, 256, (4, 2, height, width), dtype=torch.uint8)
    moved = augmented(images, "crop_and_flip")
    assert moved.dtype == torch.uint8 and moved.shape == images.shape
    for image, found in zip(images, moved, strict=True):
        assert any(torch.equal(found, window) for window in windows(image))


def test_each_image_moves_by_itself_and_half_are_mirrored() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(1, 33).expand(2000, 1, 32, 32).to(torch.uint8)
    moved = augmented(ramp, "crop_and_flip")
    mirrored = moved[:, 0, 16, 15] > moved[:, 0, 16, 16]
    assert 0.45 < mirrored.float().mean() < 0.55
    assert len({bytes(image[0, 16].numpy()) for image in moved}) == 2 * (2 * PADDING + 1)


def test_without_augmentation_images_stay() -> None:
    images = torch.rand(2, 1, 3, 3)
    assert augmented(images, "none") is images
