"""The input `image` of a model: a tensor of pixels, or encoded pictures."""

import base64
import binascii
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.manifest import Input
from runtime.member import Images
from service.errors import MalformedRequest
from service.oip.tensors import NUMBERS, Tensor, flat_numbers, unpack_elements

NAME = "image"
DATATYPES = ("FP32", "UINT8", "BYTES")
HAIR = 1e-5
"""How far a pixel may lie outside [0, 1]: what rounding does to one that was normalised and back."""

_ONE = np.float32(1 + HAIR).view(np.uint32)

Pictures = list[bytes]


def read_image(tensor: Tensor, spec: Input, most: int) -> Images | Pictures:
    """The images of a tensor: float32 [N, C, H, W] in [0, 1], or N encoded pictures; N is at most `most`.

    Binary FP32 is not copied: the array is a view of the request's bytes. Raises MalformedRequest, naming the field.
    """
    if tensor.name != NAME:
        raise MalformedRequest(f"inputs[0].name: expected {NAME!r}, got {tensor.name[:64]!r}")
    if tensor.datatype not in DATATYPES:
        raise MalformedRequest(f"inputs[0].datatype: expected {_or(DATATYPES)}, got {tensor.datatype[:64]!r}")
    _check_shape(tensor, spec, most)
    if tensor.datatype == "BYTES":
        return _pictures(tensor)
    if tensor.datatype == "UINT8":
        return np.asarray(_levels(tensor), dtype=np.float32) / np.float32(255)
    return _pixels(tensor)


def _check_shape(tensor: Tensor, spec: Input, most: int) -> None:
    shape, image = tensor.shape, (spec.channels, spec.height, spec.width)
    if tensor.datatype == "BYTES":
        fits, expected = shape[1:] in ((), (1,)), "[N] or [N, 1]"
    else:
        fits, expected = shape[1:] == image, f"[N, {', '.join(map(str, image))}]"
    if not shape or not fits:
        raise MalformedRequest(f"inputs[0].shape: expected {expected}, got {_short(shape)}")
    if not 1 <= shape[0] <= most:
        raise MalformedRequest(f"inputs[0].shape: expected {expected} of 1 to {most} images, got {_short(shape)}")


def _pixels(tensor: Tensor) -> Images:
    numbers = _numbers(tensor, np.dtype("<f4"))
    if tensor.raw is not None and np.maximum.reduce(numbers.view(np.uint32), axis=None) <= _ONE:
        return numbers  # bits of floats from 0 up are in the order of the numbers; NaN and negative ones are above
    within = (numbers >= -HAIR) & (numbers <= 1 + HAIR)  # NaN is not
    if not within.all():
        wrong = np.argwhere(~within)[0]
        where, got = wrong.tolist(), float(numbers[tuple(wrong)])
        raise MalformedRequest(f"inputs[0].data: expected pixels in [0, 1], got {got:g} at {where}")
    return numbers if tensor.raw is not None else np.ascontiguousarray(numbers, dtype=np.float32)


def _levels(tensor: Tensor) -> NDArray[Any]:
    levels = _numbers(tensor, np.dtype(np.uint8), frozenset((int,)))
    if tensor.raw is None and (levels.min() < 0 or levels.max() > 255):
        raise MalformedRequest("inputs[0].data: expected UINT8, whole numbers from 0 to 255, got others")
    return levels


def _numbers(tensor: Tensor, dtype: np.dtype[Any], kinds: frozenset[type] = NUMBERS) -> NDArray[Any]:
    if tensor.raw is None:
        values = [] if tensor.values is None else tensor.values
        return flat_numbers(values, tensor.shape, "inputs[0].data", kinds)
    expected = math.prod(tensor.shape) * dtype.itemsize
    if len(tensor.raw) != expected:
        shape = _short(tensor.shape)
        raise MalformedRequest(
            f"inputs[0]: expected {expected:,} bytes for {tensor.datatype} {shape}, got {len(tensor.raw):,}"
        )
    return np.frombuffer(tensor.raw, dtype).reshape(tensor.shape)


def _pictures(tensor: Tensor) -> Pictures:
    count = tensor.shape[0]
    if tensor.raw is not None:
        return unpack_elements(tensor.raw, count, "inputs[0]")
    elements: list[Any] = list(tensor.values) if tensor.values is not None else []
    if len(tensor.shape) == 2 and all(isinstance(row, list) and len(row) == 1 for row in elements):
        elements = [row[0] for row in elements]
    if len(elements) != count:
        raise MalformedRequest(f"inputs[0].data: expected {count} elements, got {len(elements)}")
    return [_element(element, index) for index, element in enumerate(elements)]


def _element(element: object, index: int) -> bytes:
    if isinstance(element, bytes):
        return element
    if not isinstance(element, str):
        raise MalformedRequest(f"inputs[0].data[{index}]: expected base64 of an encoded picture, got no string")
    text = element.partition(",")[2] if element.startswith("data:") else element
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest(f"inputs[0].data[{index}]: expected base64 of a picture, got {error}") from error


def _short(shape: tuple[int, ...]) -> str:
    """A shape for a message: it comes from the client, and may be of any length."""
    text = str(list(shape))
    return text if len(text) <= 80 else f"{text[:80]}... of rank {len(shape)}"


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
