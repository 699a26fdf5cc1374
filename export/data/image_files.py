"""Image files: those below a folder, with their classes, and sums by which to know them again; nothing is decoded."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.data.examples import SPLIT_SEED, DataError, Indices
from runtime.images import SUFFIXES


@dataclass(frozen=True)
class ImageFiles:
    """N image files below `folder`: names relative to it, and int64 [N] classes, sizes in bytes, times of change."""

    folder: Path
    names: tuple[str, ...]
    classes: Indices
    sizes: Indices
    modified_ns: Indices

    def __len__(self) -> int:
        return len(self.names)

    def paths(self, indices: Indices) -> list[str]:
        return [str(self.folder / self.names[index]) for index in indices.tolist()]

    def select(self, indices: Indices) -> "ImageFiles":
        names = tuple(self.names[index] for index in indices.tolist())
        return ImageFiles(self.folder, names, *(v[indices] for v in (self.classes, self.sizes, self.modified_ns)))

    def without(self, names: set[str]) -> "ImageFiles":
        return self.select(np.array([i for i, name in enumerate(self.names) if name not in names], dtype=np.int64))

    def hold_out(self, most: int, one_in: int = 10) -> tuple["ImageFiles", "ImageFiles"]:
        """The files without about one in `one_in` of each class, chosen by a fixed seed, and those files, at most
        `most` or one of each class; none of a class of so few that less than three tenths of one would be due. Raises
        DataError if every class is as small as that.
        """
        count = self.classes.max() + 1

        def due(size: int) -> int:
            return (10 * size + 7 * one_in) // (10 * one_in)

        generator = np.random.default_rng(SPLIT_SEED)
        parts = np.split(np.argsort(self.classes, kind="stable"), np.cumsum(np.bincount(self.classes))[:-1])
        held = [generator.permutation(part)[: min(due(len(part)), max(1, most // count))] for part in parts]
        chosen = np.sort(np.concatenate(held))
        if len(chosen) == 0:
            raise DataError(
                f"{self.folder}: expected a class of three or more images, to hold one of them out; "
                f"the largest has {np.bincount(self.classes).max()} left"
            )
        return self.select(np.setdiff1d(np.arange(len(self)), chosen)), self.select(chosen)

    def fingerprint(self) -> str:
        """SHA-256 that changes when a file or its place does: of the folder, and each name, class, size and time."""
        found = hashlib.sha256(str(self.folder.resolve()).encode("utf-8", "surrogateescape"))
        found.update("\0".join(self.names).encode("utf-8", "surrogateescape"))
        for values in (self.classes, self.sizes, self.modified_ns):
            found.update(values.tobytes())
        return found.hexdigest()


def listing_sha256(*parts: ImageFiles) -> str:
    """SHA-256 of the lines `NAME<tab>SIZE<newline>` of all files, sorted: the same wherever their folder lies."""
    lines = sorted(f"{n}\t{s}\n" for part in parts for n, s in zip(part.names, part.sizes.tolist(), strict=True))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def same_in_two_classes(parts: Iterable[ImageFiles]) -> list[tuple[str, ...]]:
    """Names of files with the same bytes that are not all of one class, together. What cannot be read is left out."""
    sized: defaultdict[int, list[tuple[Path, str, int]]] = defaultdict(list)
    for part in parts:
        for name, label, size in zip(part.names, part.classes.tolist(), part.sizes.tolist(), strict=True):
            sized[size].append((part.folder / name, name, label))
    same: defaultdict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for files in sized.values():
        if len({label for _, _, label in files}) < 2:
            continue  # nothing to read: most files have a size of their own
        for path, name, label in files:
            with suppress(OSError):
                same[hashlib.sha256(path.read_bytes()).digest()].append((name, label))
    found = [files for files in same.values() if len({label for _, label in files}) > 1]
    return sorted(tuple(sorted(name for name, _ in files)) for files in found)


def list_images(folder: Path) -> ImageFiles:
    """Every image below a folder, all of class 0, sorted by name. Raises DataError if there is none."""
    return _listed(folder, [(name, 0) for name in _image_names(folder)])


def list_classes(folder: Path, classes: Sequence[str], below: str = "") -> ImageFiles:
    """The images in `folder`/`below`/CLASS for each of `classes`, named relative to `folder`, class by class.

    Raises DataError if one has none.
    """
    found = []
    for index, name in enumerate(classes):
        place = f"{below}/{name}" if below else name
        refuse_empty(folder / place)
        found += [(f"{place}/{image}", index) for image in _image_names(folder / place)]
    return _listed(folder, found)


def refuse_empty(folder: Path) -> None:
    """Raise DataError if the folder of a class has no image, at any depth."""
    if next(_image_names(folder), None) is None:
        raise DataError(f"{folder}: expected images of this class ({', '.join(SUFFIXES)}), got {_instead(folder)}")


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted; hidden ones are none."""
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))


def images_directly_in(folder: Path) -> int:
    """How many images lie in a folder itself, beside its folders."""
    with os.scandir(folder) as entries:
        return sum(entry.is_file() and _is_image(entry.name) for entry in entries)


def _image_names(folder: Path) -> Iterator[str]:
    return filter(_is_image, _file_names(folder))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _file_names(folder: Path) -> Iterator[str]:
    """Files at any depth, relative to the folder, sorted; hidden files and folders are left out."""
    for root, folders, files in os.walk(folder, followlinks=True):  # Path.walk is new in Python 3.12
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield (Path(root) / name).relative_to(folder).as_posix()


def _instead(folder: Path) -> str:
    """What a folder without images has: a phone's are often .heic."""
    others = list(_file_names(folder))
    if not others:
        return "an empty folder"
    return f"{len(others):,} other file{'s' * (len(others) > 1)}, such as {others[0]}"


def _listed(folder: Path, images: list[tuple[str, int]]) -> ImageFiles:
    if not images:
        raise DataError(f"{folder}: expected images ({', '.join(SUFFIXES)}) in it or in its folders, got none")
    try:
        stats = [(folder / name).stat() for name, _ in images]
    except OSError as error:
        raise DataError(f"{error.filename}: listed, but cannot be read: {error.strerror}") from error
    return ImageFiles(
        folder,
        tuple(name for name, _ in images),
        np.array([index for _, index in images], dtype=np.int64),
        np.array([stat.st_size for stat in stats], dtype=np.int64),
        np.array([stat.st_mtime_ns for stat in stats], dtype=np.int64),
    )
