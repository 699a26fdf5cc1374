"""Image folders: any folder of pictures, a folder for each class, as a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from export.data.decoded_once import DecodedOnce, decode_once
from export.data.decoding import Decoder
from export.data.examples import VALIDATION_IMAGES, DataError, DataSet, Examples, Split, first_of
from export.data.fetch import cache_folder
from export.data.image_files import ImageFiles, class_folders, images_directly_in, list_classes, listing_sha256
from export.data.imagenet_labels import readable
from export.data.streamed import StreamedSplit
from runtime.manifest import Input

MOST_CACHED_BYTES = 4 * 2**30
SPLITS = ("train", "val", "test")
LAYOUT = "train/CLASS/IMAGE and val/CLASS/IMAGE or test/CLASS/IMAGE, or CLASS/IMAGE"


@dataclass(frozen=True)
class FolderFiles:
    """The files of an image folder in their splits, and the names of its class folders, sorted."""

    classes: tuple[str, ...]
    train: ImageFiles
    validation: ImageFiles
    test: ImageFiles


class FolderOptions(TypedDict, total=False):
    """What can be chosen when an image folder is loaded: see `load_image_folder`."""

    skip_unreadable: bool
    workers: int | None
    most_cached_bytes: int
    cache_dir: Path | None
    files: FolderFiles


def load_image_folder(folder: Path, spec: Input, name: str | None = None, **options: Unpack[FolderOptions]) -> DataSet:
    """The pictures of `folder`, decoded, resized, cropped and inverted as `spec` says and as serving does it.

    Classes are the class folders, sorted; labels their names, or in words if all are WordNet ids of ImageNet. A split
    that `folder_files` finds no folder for is held out. Decoded once, by `workers` processes (as many as cores), into
    `cache_dir` (the user's cache), if that takes at most `most_cached_bytes`, about; otherwise decoded whenever images
    are asked for, and with `skip_unreadable` once before, to know which. `md5` holds the SHA-256 of the listing, a line
    `NAME<tab>SIZE` for each file, sorted; `unreadable` has the images that were left out.

    Raises DataError if the folder has another layout, fewer than two classes, an empty one, one without a readable
    training image, or an unreadable image that is not to be skipped.
    """
    name = name or folder.resolve().name
    skip, cache = options.get("skip_unreadable", False), options.get("cache_dir") or cache_folder() / "decoded"
    files = options.get("files") or folder_files(folder)
    splits = {"train": files.train, "validation": files.validation, "test": files.test}
    loader = _Loader(Decoder(spec, options.get("workers")), cache, skip)
    count = sum(map(len, splits.values()))
    cached = count * spec.channels * spec.height * spec.width <= options.get("most_cached_bytes", MOST_CACHED_BYTES)
    examples = {
        split: (loader.cached if cached else loader.streamed)(part, f"{name} {split}") for split, part in splits.items()
    }
    for index in np.setdiff1d(np.arange(len(files.classes)), examples["train"].classes).tolist():
        raise DataError(f"{folder}: class {files.classes[index]} has no readable image to train on")
    return DataSet(
        name,
        readable(files.classes),
        **examples,
        md5={"SHA-256 of names and sizes": listing_sha256(*splits.values())},
        unreadable=loader.unreadable,
    )


def folder_files(folder: Path, test_one_in: int = 10, validation_one_in: int = 10, fewest: int = 0) -> FolderFiles:
    """The files of `folder`: train/CLASS/IMAGE beside val/ and test/ with the same classes, or CLASS/IMAGE.

    Test is test/, else val/, as ImageNet has it, else about one in `test_one_in` of each class; validation is val/ if
    that is not the test, else one in `validation_one_in` of each class of what is left; never more than 5,000. Raises
    DataError, also for classes of fewer than `fewest` images in all.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder ({LAYOUT}), got {'a file' if folder.exists() else 'nothing'}")
    classes, parts = _published_splits(folder)
    refuse_small_classes(folder, classes, list(parts.values()), fewest)
    train, test, validation = parts["train"], parts.get("test", parts.get("val")), None
    if "test" in parts:
        validation = parts.get("val")
    if test is None:
        train, test = train.hold_out(VALIDATION_IMAGES, test_one_in)
    if validation is None:
        train, validation = train.hold_out(VALIDATION_IMAGES, validation_one_in)
    return FolderFiles(classes, train, validation, test)


def refuse_small_classes(
    folder: Path, classes: Sequence[str], parts: Sequence[ImageFiles], fewest: int, what: str = "images"
) -> None:
    """Raise DataError, naming them, if classes have fewer than `fewest` files in all parts together."""
    counts = np.sum([np.bincount(part.classes, minlength=len(classes)) for part in parts], axis=0)
    if small := [f"{count} of {name}" for name, count in zip(classes, counts, strict=True) if count < fewest]:
        raise DataError(
            f"{folder}: expected at least {fewest} {what} of each class, got {first_of(small)}; "
            "add images, or move that folder away"
        )


def _published_splits(folder: Path) -> tuple[tuple[str, ...], dict[str, ImageFiles]]:
    """The names of the class folders, and the files of each split that there is; everything is `train` if none is."""
    found = class_folders(folder)
    splits = {split: classes for split in SPLITS if split in found and (classes := class_folders(folder / split))}
    if not splits:
        _check_classes(folder, found)
        return found, {"train": list_classes(folder, found)}
    if "train" not in splits:
        raise DataError(f"{folder}: expected {LAYOUT}, got no train/ beside {'/ and '.join(splits)}/")
    classes = splits["train"]
    _check_classes(folder / "train", classes)
    for split, others in splits.items():
        if differ := sorted(set(classes) ^ set(others)):
            raise DataError(f"{folder}: expected the same class folders in train/ and {split}/; {differ[0]} is in one")
    return classes, {split: list_classes(folder, classes, split) for split in splits}


def _check_classes(folder: Path, classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        got = _one_class(folder, classes[0]) if classes else _no_class(folder)
        raise DataError(f"{folder}: expected a folder of images for each of two or more classes, got {got}")


def _one_class(folder: Path, name: str) -> str:
    if len(class_folders(folder / name)) > 1:
        return f"only {name}, which has folders of its own: if they are the classes, name {folder / name}"
    return f"only {name}"


def _no_class(folder: Path) -> str:
    loose = images_directly_in(folder)
    return f"{loose:,} images beside each other: sort them into a folder for each class" if loose else "none"


@dataclass(frozen=True)
class _Loader:
    """Image files to examples, in one of two ways; images that cannot be read are left out, or raise DataError."""

    decoder: Decoder
    cache: Path
    skip_unreadable: bool
    unreadable: dict[str, str] = field(default_factory=dict)

    def cached(self, files: ImageFiles, title: str) -> Examples:
        once = self._decode(files, title, keep_images=True)
        assert once.images is not None
        return Split(once.images, once.files.classes)

    def streamed(self, files: ImageFiles, title: str) -> Examples:
        readable_files = self._decode(files, title, keep_images=False).files if self.skip_unreadable else files
        return StreamedSplit(readable_files, self.decoder)

    def _decode(self, files: ImageFiles, title: str, *, keep_images: bool) -> DecodedOnce:
        once = decode_once(
            files, self.decoder, self.cache, title, keep_images=keep_images, skip_unreadable=self.skip_unreadable
        )
        self.unreadable.update(once.unreadable)
        return once
