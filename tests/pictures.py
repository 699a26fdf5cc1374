"""Folders of small pictures, for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from runtime.manifest import Input

SPEC = Input(channels=3, height=8, width=6, resize="center_crop")
"""Another size than the pictures have."""


def write_picture(path: Path, seed: int, width: int = 12, height: int = 10, mode: str = "RGB") -> Path:
    """A picture of noise in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    Image.fromarray(noise, "RGBA").convert(mode).save(path)
    return path


def write_classes(folder: Path, counts: dict[str, int], suffix: str = ".png") -> None:
    """`counts` pictures in a folder for each class, no two alike."""
    for index, (name, count) in enumerate(counts.items()):
        for number in range(count):
            write_picture(folder / name / f"{number:03}{suffix}", seed=1000 * index + number)
