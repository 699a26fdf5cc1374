"""Tensors as the Open Inference Protocol sends them: datatypes, and elements of variable length."""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedRequest

LENGTH = struct.Struct("<I")
"""What stands before each element of a binary BYTES tensor."""

NUMBERS: frozenset[type] = frozenset((int, float))
Values = list[Any] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input as it came. Nothing is known of it but that these fields have these types."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: memoryview | None
    """Its bytes, row-major and little-endian; None where it came as values."""
    values: Values | None = None
    """Its values, nested or flat: of JSON, or of gRPC's typed contents."""


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of an answer: an array of numbers, or byte strings in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | list[bytes]

    def raw(self) -> bytes:
        """Row-major, little-endian; byte strings each behind its length."""
        if isinstance(self.data, list):
            return pack_elements(self.data)
        return self.data.astype(self.data.dtype.newbyteorder("<"), copy=False).tobytes()


def pack_elements(elements: Iterable[bytes]) -> bytes:
    """Byte strings, each behind its length in four bytes."""
    return b"".join(LENGTH.pack(len(element)) + element for element in elements)


def unpack_elements(raw: memoryview, count: int, where: str) -> list[bytes]:
    """The `count` byte strings of `pack_elements`. Raises MalformedRequest, naming `where`, if they do not add up."""
    elements, at = [], 0
    for index in range(count):
        end = at + LENGTH.size
        if end > len(raw):
            raise MalformedRequest(f"{where}: expected {count} elements, got bytes for {index}")
        (length,) = LENGTH.unpack_from(raw, at)
        at = end + length
        if at > len(raw):
            left = len(raw) - end
            raise MalformedRequest(f"{where}: element {index} says it has {length:,} bytes, {left:,} are left")
        elements.append(bytes(raw[end:at]))
    if at != len(raw):
        raise MalformedRequest(f"{where}: expected {count} elements, got {len(raw) - at:,} bytes beyond them")
    return elements


def flat_numbers(
    values: Values, shape: tuple[int, ...], where: str, kinds: frozenset[type] = NUMBERS
) -> NDArray[np.float64]:
    """Nested or flat numbers as an array of this shape. Raises MalformedRequest, naming `where`, if they are not that.

    Types are looked at one by one, and never left to NumPy, which would take "0.5" and null for numbers; lengths go
    first, so that millions of rows that the shape does not have are not walked through.
    """
    if isinstance(values, np.ndarray):
        _check_lengths(values.shape, shape, where)
        return values.astype(np.float64).reshape(shape)
    flat = _flattened(values, shape, where)
    if not kinds.issuperset(map(type, flat)):
        raise MalformedRequest(f"{where}: expected {'whole ' * (float not in kinds)}numbers, got others among them")
    return np.array(flat, dtype=np.float64).reshape(shape)


def _flattened(values: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    """What is in lists of this shape, nested or flat."""
    found, flat = [len(values)], values
    while flat and isinstance(flat[0], list) and len(found) <= len(shape):
        if found[-1] != shape[len(found) - 1]:
            raise MalformedRequest(f"{where}: expected {_said(shape)} numbers, nested or flat, got {_said(found)} rows")
        lengths = {len(row) if isinstance(row, list) else -1 for row in flat}
        if len(lengths) != 1:
            raise MalformedRequest(f"{where}: expected rows of one length, got a ragged list")
        found.append(lengths.pop())
        flat = list(chain.from_iterable(flat))
    _check_lengths(tuple(found), shape, where)
    return flat


def _check_lengths(found: tuple[int, ...], shape: tuple[int, ...], where: str) -> None:
    if found not in (shape, (math.prod(shape),)):
        raise MalformedRequest(f"{where}: expected {_said(shape)} numbers, nested or flat, got {_said(found)}")


def _said(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
