"""Real images in the forms that servers take: PNG, JPEG, float32 tensors."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLES = Path(__file__).parent.parent / "samples"
JPEG_QUALITY = 95

Shape = tuple[int, int, int]
"""Channels, height, width."""
Tensor = NDArray[np.float32]


def open_pictures(paths: Sequence[Path]) -> list[Image.Image]:
    """The pictures, decoded; without a path the digits in samples/. Raises ValueError, naming what is no picture."""
    found = list(paths) or sorted(SAMPLES.glob("*.png"))
    if not found:
        raise ValueError(f"--image: expected a picture to send; there is none in {SAMPLES}")
    return [_open(path) for path in found]


def encoded(picture: Image.Image, kind: str) -> bytes:
    """The picture as a file, `kind` being `png` or `jpeg`."""
    buffer = io.BytesIO()
    if kind == "jpeg":
        grey = picture.mode in ("1", "L", "LA", "I;16")
        picture.convert("L" if grey else "RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        picture.save(buffer, "PNG")
    return buffer.getvalue()


def tensor(picture: Image.Image, shape: Shape) -> Tensor:
    """float32 [1, C, H, W] in [0, 1], stretched to the height and width asked for."""
    channels, height, width = shape
    fitted = picture.convert("L" if channels == 1 else "RGB")
    if fitted.size != (width, height):
        fitted = fitted.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(fitted, np.float32).reshape(height, width, -1) / np.float32(255)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"--image: expected a picture, got {path}: {error}") from error
    return picture
