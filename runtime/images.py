"""Pictures in: encoded bytes to the float array that members take, by the rules of a manifest's input."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from runtime.errors import ImageError, ImageTooLarge, InvalidValue
from runtime.manifest import DIGIT_BOX, Input
from runtime.plain_png import plain_levels

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
"""Of files of these formats, in small letters."""
BRIGHT = 0.5
FAINT = 0.2
"""What is no brighter than this, its ground taken as 0 and full brightness as 1, is no ink."""
PILLOWS_SIZE = re.compile(r"\((\d+) pixels\)")
"""Of a picture that Pillow itself refuses, in its message."""
MOST_PIXELS = 25_000_000

Pixels = NDArray[np.float32]
_SHARES = np.arange(256, dtype=np.float32) / np.float32(255)
"""Of full brightness, by level."""


def decode_image(data: bytes, spec: Input, max_pixels: int = MOST_PIXELS) -> Pixels:
    """Encoded picture to float32 [1, C, H, W] in [0, 1], oriented, resized and inverted as the manifest says.

    Raises ImageError if the bytes are not a whole picture of a format that we read, ImageTooLarge if it has more than
    `max_pixels`; that is known from its header, before anything is decoded.
    """
    plain = plain_image(data, spec) if spec.width * spec.height <= max_pixels else None
    return fit_image(open_picture(data, max_pixels), spec) if plain is None else plain


def plain_image(data: bytes, spec: Input) -> Pixels | None:
    """`decode_image` for a plain PNG that is as the members take it, in a third of the time; None for anything else."""
    levels = plain_levels(data, spec.channels, spec.height, spec.width)
    if levels is None:
        return None
    pixels = _SHARES.take(np.frombuffer(levels, np.uint8)).reshape(1, spec.height, spec.width, spec.channels)
    bright = 1.0  # of the ground; more than this it cannot be
    if spec.invert == "bright_border":
        # On bytes: for the border of a digit that takes a fifth as long as on arrays.
        n, row = spec.channels, spec.channels * spec.width
        sides = [levels[place::row] for place in (*range(n), *range(row - n, row))]
        border = b"".join((levels[:row], levels[-row:], *sides))
        mean = sum(border) / (255 * len(border))
        if mean > BRIGHT:
            pixels, mean = 1 - pixels, 1 - mean
        bright = 2 * mean  # half of the border is at least as bright as its median
    # A picture that surely has ink is not looked at twice: that would take longer than all the rest.
    if spec.resize == "digit" and pixels.max() <= bright + spec.channels * FAINT:
        _require_ink(pixels[0])
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def fit_image(picture: Image.Image, spec: Input) -> Pixels:
    """`decode_image` for a picture that is open already; transparency is laid over white.

    Raises ImageError if it is damaged, InvalidValue if it should be a digit and has no ink, on black neither where it
    is transparent.
    """
    try:
        return _fitted(_decoded(picture, spec.channels), spec)
    except InvalidValue:
        if not picture.has_transparency_data:
            raise
        return _fitted(_decoded(picture, spec.channels, "black"), spec)  # white ink, which nobody sees on white


def _fitted(pixels: Pixels, spec: Input) -> Pixels:
    """Pixels [H, W, C] as members take them, [1, C, height, width]. Raises InvalidValue for a digit without ink."""
    if spec.invert == "bright_border" and (border := _border(pixels)).sum() > BRIGHT * border.size:
        pixels = 1 - pixels
    if pixels.shape[:2] != (spec.height, spec.width):
        pixels = RESIZERS[spec.resize](pixels, spec.height, spec.width)
    elif spec.resize == "digit":
        _require_ink(pixels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)


def decode_pixels(data: bytes, channels: int, max_pixels: int = MOST_PIXELS) -> Pixels:
    """Encoded picture to float32 [C, height, width] in [0, 1] of its own size; raises as `decode_image` does."""
    return _decoded(open_picture(data, max_pixels), channels).transpose(2, 0, 1)


def encode_png(pixels: Pixels) -> bytes:
    """PNG of pixels [C, H, W] in [0, 1], rounded to 8 bits."""
    levels = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def open_picture(data: bytes, max_pixels: int) -> Image.Image:
    """The picture's header; nothing is decoded. Raises ImageError or ImageTooLarge."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # raised where warnings are errors
        size = PILLOWS_SIZE.search(str(error))  # the picture itself it does not hand over
        got = f"{int(size[1]):,}" if size else "more"
        raise ImageTooLarge(f"image: expected at most {max_pixels:,} pixels, got {got}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        kind = f"{len(data):,} bytes beginning {data[:8]!r}" if data else "nothing"
        raise ImageError(f"image: expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {kind}") from error
    if picture.width * picture.height > max_pixels:
        raise ImageTooLarge(f"image: expected at most {max_pixels:,} pixels, got {picture.width} x {picture.height}")
    return picture


@contextmanager
def _damage_named(picture: Image.Image) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a decoder raises whatever it trips over, AssertionError and struct.error included
        raise ImageError(f"image: the {picture.format} is damaged or cut off: {error}") from error


def _decoded(picture: Image.Image, channels: int, ground: str = "white") -> Pixels:
    """[H, W, C] in [0, 1]; transparency is laid over `ground`. Raises ImageError if the picture is damaged."""
    with _damage_named(picture):
        return _pixels(picture, channels, ground)


def _pixels(picture: Image.Image, channels: int, ground: str) -> Pixels:
    if picture.format == "JPEG":
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        deep = np.asarray(picture, dtype=np.float32) / np.float32(1 if picture.mode == "F" else 65535)
        return np.repeat(deep[:, :, None], channels, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    if picture.mode != (mode := "L" if channels == 1 else "RGB"):
        picture = picture.convert(mode)
    levels = np.frombuffer(picture.tobytes(), np.uint8)  # np.asarray(picture) takes twice as long for a digit
    return np.divide(levels.reshape(picture.height, picture.width, channels), np.float32(255), dtype=np.float32)


def _border(pixels: Pixels) -> Pixels:
    """The outermost pixels [n, C] of pixels [H, W, C]; those of the corners twice."""
    height, width, channels = pixels.shape
    return pixels.reshape(-1, channels)[_border_places(height, width)]


@lru_cache(maxsize=64)
def _border_places(height: int, width: int) -> NDArray[np.intp]:
    places = np.arange(height * width).reshape(height, width)
    return np.concatenate([places[0], places[-1], places[:, 0], places[:, -1]])


def _scale(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resized with antialiasing, channel by channel; [height, width, C] in [0, 1]."""
    planes = [
        Image.fromarray(np.ascontiguousarray(pixels[:, :, c])).resize((width, height), Image.Resampling.BICUBIC)
        for c in range(pixels.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2).clip(0, 1)


def _stretch(pixels: Pixels, height: int, width: int) -> Pixels:
    return _scale(pixels, height, width)


def _center_crop(pixels: Pixels, height: int, width: int) -> Pixels:
    """The largest centred part of the target's proportions, scaled."""
    h, w = pixels.shape[:2]
    side = min(h / height, w / width)
    crop_h, crop_w = max(1, round(side * height)), max(1, round(side * width))
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    return _scale(pixels[top : top + crop_h, left : left + crop_w], height, width)


def _bright(pixels: Pixels) -> Pixels:
    """How much brighter than the ground, the median of the border, each of pixels [H, W, C] is, of what it could be."""
    ground = float(np.median(_border(pixels)))  # grey paper is no ink
    return ((pixels - ground) / max(1 - ground, 0.1)).clip(0, 1)


def _require_ink(pixels: Pixels) -> None:
    """Raises InvalidValue where nothing in pixels [H, W, C] stands out from the ground."""
    if _bright(pixels).mean(axis=2).max() <= FAINT:
        raise _no_ink()


def _no_ink() -> InvalidValue:
    return InvalidValue("image: expected a digit, got a picture without any ink")


def _digit(pixels: Pixels, height: int, width: int) -> Pixels:
    """A bright digit on a dark ground as MNIST has it: its ink in a 20 x 20 box, its centre of mass in the middle.

    Raises InvalidValue if there is no ink.
    """
    pixels = _bright(pixels)
    ink = pixels.mean(axis=2)
    ink = np.where(ink > max(FAINT, ink.max() / 3), ink, 0)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        raise _no_ink()
    digit = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / ink.max()
    scale = DIGIT_BOX / max(digit.shape[:2])
    digit = _scale(digit.clip(0, 1), max(1, round(digit.shape[0] * scale)), max(1, round(digit.shape[1] * scale)))
    mass = digit.mean(axis=2)
    centre = [(mass.sum(axis=1 - axis) @ np.arange(mass.shape[axis])) / mass.sum() for axis in (0, 1)]
    canvas = np.zeros((height, width, pixels.shape[2]), np.float32)
    top, left = (
        int(np.clip(round((size - 1) / 2 - c), 0, size - length))
        for size, c, length in zip((height, width), centre, digit.shape[:2], strict=True)
    )
    canvas[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return canvas


RESIZERS = {"stretch": _stretch, "center_crop": _center_crop, "digit": _digit}
