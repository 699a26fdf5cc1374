"""Labelled test images, wherever they come from, and the ones that are drawn from them to be attacked."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Labels
from robustness.evaluation.arrays_file import read_arrays
from robustness.victim import Array
from runtime.errors import EmpirError, ImageError, ImageTooLarge, InvalidValue
from runtime.images import SUFFIXES, decode_image
from runtime.manifest import Manifest

Indices = NDArray[np.int64]


class BadImages(EmpirError):
    """Test images that are missing, that cannot be read, or that are not for this bundle."""

    code = "bad_data"


class UnreadableImage(BadImages):
    """One picture of a folder that cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: cannot be read as an image: {reason}; mend or delete it, or leave it out: --skip-unreadable"
        )
        self.name, self.reason = f"{path.parent.name}/{path.name}", reason


class ImageSet(Protocol):
    """A test set."""

    @property
    def name(self) -> str: ...

    @property
    def sums(self) -> dict[str, str]:
        """Checksums of the files that it comes from."""

    @property
    def classes(self) -> Labels:
        """The class of each image, [N]."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Images that are not among them because they cannot be read, by name, and why; as far as that is known."""

    def pixels(self, indices: Indices) -> Array:
        """Those images, float32 [B, C, H, W] in [0, 1]. Raises UnreadableImage at one that cannot be read."""


@dataclass(frozen=True)
class Drawn:
    """The images under attack: their indices in the test set [n], float32 [n, C, H, W] in [0, 1], and classes [n].

    `unreadable` has the images that were left out, by name, and why.
    """

    data_set: str
    sums: dict[str, str]
    total: int
    indices: Indices
    images: Array
    labels: Labels
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def pixels_sha256(self) -> str:
        """By which they are known again, whatever files they come from: `sums` may be of names and sizes alone."""
        return pixels_sha256([self.images])


AT_ONCE = 500
"""Images that are looked at together."""


def pixels_sha256(parts: Iterable[Array]) -> str:
    """SHA-256 of images float32 [B, C, H, W], part after part."""
    found = hashlib.sha256()
    for images in parts:
        found.update(np.ascontiguousarray(images, dtype="<f4").data)
    return found.hexdigest()


def draw(source: ImageSet, n: int, seed: int, *, skip_unreadable: bool = False) -> Drawn:
    """The first n of a permutation drawn from the seed; `skip_unreadable`: the first n of it that can be read.

    Raises InvalidValue if there are not so many, and UnreadableImage at one that is not to be skipped.
    """
    total = len(source.classes)
    if not 1 <= n <= total:
        raise InvalidValue(f"n: expected 1 to {total}, the images of the test set {source.name}, got {n}")
    order, unreadable = np.random.default_rng(seed).permutation(total), dict(source.unreadable)
    if skip_unreadable:
        indices, pixels = _readable(source, order, n, unreadable)
    else:
        indices, pixels = order[:n], source.pixels(order[:n])
    images = np.ascontiguousarray(pixels, dtype=np.float32)
    return Drawn(source.name, source.sums, total, indices, images, source.classes[indices], unreadable)


def _readable(source: ImageSet, order: Indices, n: int, unreadable: dict[str, str]) -> tuple[Indices, Array]:
    """The first n in this order that can be read, and their pixels; those before them that cannot are entered."""
    indices, images = list[int](), list[Array]()
    for index in order.tolist():
        if len(indices) == n:
            break
        try:
            images.append(source.pixels(np.array([index])))
        except UnreadableImage as error:
            unreadable[error.name] = error.reason
        else:
            indices.append(index)
    if len(indices) < n:
        raise InvalidValue(f"n: expected 1 to {len(indices)}, the readable images of {source.name}, got {n}")
    return np.array(indices), np.concatenate(images)


def open_images(path: Path, manifest: Manifest) -> ImageSet:
    """The labelled images in a file or folder, for the bundle with this manifest.

    A file is NumPy's npz: `images`, uint8 or float32 in [0, 1], [N, C, H, W], and `labels`, class indices [N]. A folder
    has a subfolder for each class, named by its label or its index, with pictures in it. Raises BadImages.
    """
    return _open_folder(path, manifest) if path.is_dir() else _open_file(path, manifest)


@dataclass(frozen=True)
class ArraySet:
    """Images in memory, uint8 levels or float32 in [0, 1]."""

    name: str
    sums: dict[str, str]
    classes: Labels
    images: Array | NDArray[np.uint8]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def pixels(self, indices: Indices) -> Array:
        chosen = self.images[indices]
        return chosen.astype(np.float32) / np.float32(255) if chosen.dtype == np.uint8 else chosen.astype(np.float32)


def _open_file(path: Path, manifest: Manifest) -> ArraySet:
    arrays = read_arrays(path, BadImages)
    if not {"images", "labels"} <= set(arrays):
        raise BadImages(f"{path}: expected the arrays images and labels, got {', '.join(arrays) or 'none'}")
    images, labels = arrays["images"], arrays["labels"]
    spec, n_classes = manifest.input, len(manifest.labels)
    shape = (spec.channels, spec.height, spec.width)
    if images.shape[1:] != shape or images.dtype not in (np.uint8, np.float32):
        raise BadImages(
            f"{path}: images: expected uint8 or float32 [N, {spec.channels}, {spec.height}, {spec.width}], "
            f"got {images.dtype} {list(images.shape)}"
        )
    if images.dtype == np.float32 and not (len(images) and images.min() >= 0 and images.max() <= 1):
        raise BadImages(f"{path}: images: expected float32 in [0, 1], got others, or none")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not np.isin(labels, range(n_classes)).all():
        raise BadImages(f"{path}: labels: expected a class index from 0 to {n_classes - 1} for each of the images")
    return ArraySet(
        path.stem, {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}, labels.astype(np.int64), images
    )


@dataclass(frozen=True)
class FolderSet:
    """Pictures in files, decoded when they are asked for."""

    name: str
    sums: dict[str, str]
    classes: Labels
    files: list[Path]
    manifest: Manifest
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def pixels(self, indices: Indices) -> Array:
        return np.concatenate([self._decode(self.files[index]) for index in indices.tolist()])

    def _decode(self, path: Path) -> Array:
        try:
            return decode_image(path.read_bytes(), self.manifest.input)
        except OSError as error:  # its own words name the path once more
            raise UnreadableImage(path, error.strerror or type(error).__name__) from error
        except (ImageError, ImageTooLarge, InvalidValue) as error:
            raise UnreadableImage(path, str(error)) from error


def _open_folder(path: Path, manifest: Manifest) -> FolderSet:
    named = {label: index for index, label in enumerate(manifest.labels)}
    numbered = {str(index): index for index in range(len(manifest.labels))}
    files: list[Path] = []
    classes: list[int] = []
    for folder in sorted(each for each in path.iterdir() if each.is_dir()):
        if folder.name not in named | numbered:
            raise BadImages(f"{folder}: expected the name of a label, or its index, such as {manifest.labels[0]!r}")
        pictures = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES)
        if not pictures:
            raise BadImages(f"{folder}: expected pictures of this class in it, got none")
        files += pictures
        classes += [(numbered | named)[folder.name]] * len(pictures)
    if not files:
        raise BadImages(f"{path}: expected a folder for each class, with pictures in it, got none")
    listing = "".join(f"{file.relative_to(path)}\t{file.stat().st_size}\n" for file in files)
    sums = {"listing": hashlib.sha256(listing.encode()).hexdigest()}
    return FolderSet(path.name, sums, np.array(classes, dtype=np.int64), files, manifest)
