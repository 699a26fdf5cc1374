"""Calibration images: a folder of pictures, some to quantize with, the others for the figures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.decoding import Decoder, unreadable_image
from export.data.examples import SPLIT_SEED, DataError, Indices, as_pixels, first_of, with_reasons
from export.data.image_files import ImageFiles, class_folders, list_images, refuse_empty
from export.data.imagenet_labels import imagenet_labels, readable
from runtime.manifest import Input

UNKNOWN = -1
FEWEST = 4
BATCH = 32

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """Names of the classes in the order of the logits, and their ids (`n01440764`) where they have any."""

    names: tuple[str, ...]
    ids: tuple[str, ...] = ()
    given: bool = True
    """Whether somebody gave them; else they are numbers."""

    @classmethod
    def numbered(cls, count: int) -> "Labels":
        return cls(tuple(f"class {index}" for index in range(count)), given=False)

    @classmethod
    def imagenet(cls) -> "Labels":
        words = imagenet_labels()
        return cls(tuple(words.values()), tuple(words))

    @classmethod
    def read(cls, path: Path) -> "Labels":
        """From a file with a name on each line, or an id, a tab and a name. Raises DataError."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected a text file with a label on each line, got {error}") from error
        rows = [line.split("\t", 1) for line in lines if line.strip()]
        names = tuple(row[-1].strip() for row in rows)
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise DataError(f"{path}: expected labels that differ, got {twice!r} twice")
        return cls(names, tuple(row[0].strip() for row in rows) if all(len(row) == 2 for row in rows) else ())

    def indices(self, folders: tuple[str, ...]) -> dict[str, int]:
        """The class of each class folder, by id, by name, or by the name of its WordNet id; empty unless all are known.

        Never by order: as many folders as labels may be others, or in another order.
        """
        for called, known in ((folders, self.ids), (folders, self.names), (readable(folders), self.names)):
            if set(called) <= set(known):
                return {folder: known.index(name) for folder, name in zip(folders, called, strict=True)}
        return {}


@dataclass
class Photos:
    """Image files, the class of each, UNKNOWN where it is not known, and who decodes them."""

    files: ImageFiles
    classes: Indices
    decoder: Decoder
    skip_unreadable: bool
    unknown: str = ""
    """Why classes are not known, where they are not."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """The names of those that were skipped, and why."""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labelled(self) -> bool:
        return bool((self.classes != UNKNOWN).all())

    def batches(self) -> Iterator[tuple[Pixels, Indices]]:
        """Images float32 [N, C, H, W] in [0, 1] and their classes, decoded as serving does; none is empty.

        Raises DataError, naming the file, at one that cannot be read, unless these are skipped and noted.
        """
        order = [np.arange(start, min(start + BATCH, len(self))) for start in range(0, len(self), BATCH)]
        paths = [self.files.paths(indices) for indices in order]
        for indices, names, decoded in zip(order, paths, self.decoder.decode(paths), strict=True):
            for path, reason in decoded.unreadable.items():
                if not self.skip_unreadable:
                    raise unreadable_image(path, reason)
                self.unreadable[Path(path).relative_to(self.files.folder).as_posix()] = reason
            read = [index for index, path in zip(indices, names, strict=True) if path not in decoded.unreadable]
            if read:
                yield as_pixels(decoded.images), self.classes[read]

    def pixels(self) -> Pixels:
        """All images at once. Raises DataError as `batches` does, and if none can be read."""
        batches = [images for images, _ in self.batches()]
        if not batches:
            raise self.none_readable("to calibrate with")
        return np.concatenate(batches)

    def none_readable(self, purpose: str) -> DataError:
        """The error where every picture was skipped."""
        return DataError(
            f"{self.files.folder}: expected pictures {purpose}, none of {len(self):,} can be read: "
            f"{first_of(with_reasons(self.unreadable))}"
        )

    def select(self, indices: Indices) -> "Photos":
        return Photos(
            self.files.select(indices), self.classes[indices], self.decoder, self.skip_unreadable, self.unknown
        )


def calibration_photos(
    folder: Path, labels: Labels, spec: Input, calibration: int, figures: int, *, skip_unreadable: bool = False
) -> tuple[Photos, Photos]:
    """Photos to calibrate with, at most `calibration` and half of all, and others for the figures, at most `figures`.

    Chosen by a fixed seed from a flat folder or one with a folder for each class. Raises DataError if there are fewer
    than four, or a class folder without any.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures, got {'a file' if folder.exists() else 'nothing'}")
    files, folders = list_images(folder), class_folders(folder)
    for name in folders:
        refuse_empty(folder / name)
    if len(files) < FEWEST:
        raise DataError(
            f"{folder}: expected at least {FEWEST} pictures, half of them for the figures, got {len(files)}"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(len(files))
    count = min(calibration, len(files) // 2)
    classes, unknown = _classes(files, labels, folders)
    photos = Photos(files, classes, Decoder(spec), skip_unreadable, unknown)
    return photos.select(np.sort(order[:count])), photos.select(np.sort(order[count : count + figures]))


def _classes(files: ImageFiles, labels: Labels, folders: tuple[str, ...]) -> tuple[Indices, str]:
    """The class of each file, and, where some are UNKNOWN, why."""
    known = labels.indices(folders)
    classes = np.array([known.get(name.split("/", 1)[0], UNKNOWN) for name in files.names], dtype=np.int64)
    return classes, "" if (classes != UNKNOWN).all() else _why_unknown(files, labels, folders, known)


def _why_unknown(files: ImageFiles, labels: Labels, folders: tuple[str, ...], known: dict[str, int]) -> str:
    if not folders:
        return "the pictures are not in class folders"
    if not labels.given:
        return "without --labels nobody knows which folder is which class"
    if not known:
        stranger = next((name for name in folders if name not in {*labels.ids, *labels.names}), folders[0])
        return f"the folder {stranger} has the name of no label"
    return f"{next(name for name in files.names if '/' not in name)} is in no class folder"
