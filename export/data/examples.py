"""Data sets: labelled images in three splits, held in memory or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EmpirError

VALIDATION_IMAGES = 5_000
SPLIT_SEED = 0
NAMED = 3

Indices = NDArray[np.int64]
Levels = NDArray[np.uint8]
"""Images [N, C, H, W], a byte for each value; level 255 is 1.0."""


class DataError(EmpirError):
    """A data set that is missing, that cannot be read, or that is not what its publisher shipped."""

    code = "bad_data"


class Examples(Protocol):
    """Labelled images in a fixed order, wherever they are: in memory, in a file, or not decoded yet."""

    def __len__(self) -> int: ...

    @property
    def classes(self) -> Indices:
        """Class of each image, int64 [N]."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""

    def batch(self, indices: Indices) -> Levels:
        """The images with these indices, uint8 [B, C, H, W], a copy."""

    def batches(self, order: Iterable[Indices]) -> Iterator[Levels]:
        """`batch` for each of `order`; what takes long to read is read ahead."""

    def pixels(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Images start..stop as the members take them: float32 [N, C, H, W] in [0, 1]."""


@dataclass(frozen=True)
class Split:
    """Examples in memory, or in a file mapped into it: images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: Levels
    classes: Indices

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def batch(self, indices: Indices) -> Levels:
        return np.asarray(self.images[indices])

    def batches(self, order: Iterable[Indices]) -> Iterator[Levels]:
        return map(self.batch, order)

    def pixels(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        return as_pixels(self.images[start:stop])


@dataclass(frozen=True)
class DataSet:
    """A data set in three splits: train to learn from, validation for every choice, test for the final figure alone.

    `md5` is where it comes from: the sums of its published files, or what `load_image_folder` says; `unreadable` has
    the names of images that are left out, and why.
    """

    name: str
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    md5: dict[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        return len(self.unreadable)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.train.image_shape


def left_out(unreadable: Mapping[str, str]) -> str:
    """How many images are left out, and the first of them by name, with what is wrong with it.

    >>> left_out({"cat/7.png": "truncated"})
    '1 unreadable image is left out: cat/7.png (truncated)'
    """
    are = "image is" if len(unreadable) == 1 else "images are"
    return f"{len(unreadable):,} unreadable {are} left out: {first_of(with_reasons(unreadable))}"


def with_reasons(unreadable: Mapping[str, str]) -> list[str]:
    """Names of images with what is wrong with each."""
    return [f"{name} ({reason})" for name, reason in unreadable.items()]


def first_of(names: Sequence[str]) -> str:
    """The first of them, and how many more there are.

    >>> first_of(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def as_pixels(images: Levels) -> NDArray[np.float32]:
    """Levels 0..255 to float32 in [0, 1]."""
    return np.asarray(images, dtype=np.float32) / np.float32(255)


def in_turn(examples: Examples, size: int) -> Iterator[NDArray[np.float32]]:
    """All images as the members take them, float32 [B, C, H, W] in [0, 1], `size` at a time, read ahead."""
    order = (np.arange(start, min(start + size, len(examples))) for start in range(0, len(examples), size))
    return map(as_pixels, examples.batches(order))


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """The split without `count` images, chosen by a fixed seed, and those images."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(split))
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    return Split(split.images[kept], split.classes[kept]), Split(split.images[held], split.classes[held])
