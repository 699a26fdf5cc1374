"""Images of one's own: a folder of class folders, looked at and checked before anything is trained on it."""

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np

from export.data.decoding import MOST_PIXELS
from export.data.examples import SPLIT_SEED, DataError, DataSet, first_of, with_reasons
from export.data.image_files import ImageFiles, same_in_two_classes
from export.data.image_folder import FolderFiles, folder_files, load_image_folder, refuse_small_classes
from export.data.imagenet_labels import readable
from runtime.errors import EmpirError
from runtime.images import open_picture
from runtime.manifest import Input, Manifest

PREFIX = "own-images-"
"""Of the names of recipes for such images."""
FEWEST = 10
"""Images of a class: two are then left to test on, one to choose by, and seven to learn from."""
TEST_ONE_IN, VALIDATION_ONE_IN = 5, 8
LOOKED_AT = 200
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")
SIZES = (32, 64)
"""What images are brought to: the smaller ones are for pictures of up to 48 pixels."""


@dataclass(frozen=True)
class OwnImages:
    """A folder's files in their splits, and what it takes to show them: labels and counts."""

    folder: Path
    files: FolderFiles

    @classmethod
    def survey(cls, folder: Path) -> "OwnImages":
        """The folder, with train/, val/ and test/ as far as it has them; the rest is held out, always the same images.

        A fifth of each class is the test, an eighth of what is left validation. Raises DataError, naming what is
        wrong, for a folder of another layout, fewer than two classes, and a class of fewer than ten images.
        """
        return cls(folder, folder_files(folder, TEST_ONE_IN, VALIDATION_ONE_IN, FEWEST))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return readable(self.files.classes)

    def counts(self, part: ImageFiles) -> list[int]:
        """How many images each class has in one split."""
        return np.bincount(part.classes, minlength=len(self.files.classes)).tolist()  # type: ignore[no-any-return]

    def input(self, size: int | None) -> Input:
        """How the pictures are brought to `size` x `size` pixels, or, for None, to one of `SIZES`; grey if all are."""
        sides, grey = self._look()
        size = size or (SIZES[0] if median(sides) <= 48 else SIZES[1])
        return Input(channels=1 if grey else 3, height=size, width=size, resize="center_crop")

    def load(self, spec: Input, *, skip_unreadable: bool) -> DataSet:
        """The decoded images. Raises DataError, naming them, if some are unreadable and these are not to be skipped,
        if they are and a class keeps fewer than ten, and as `load_image_folder` does.
        """
        data = load_image_folder(self.folder, spec, files=self.files, skip_unreadable=True)
        if data.unreadable and not skip_unreadable:
            count = len(data.unreadable)
            raise DataError(
                f"{self.folder}: {count:,} image{'s' * (count > 1)} cannot be read: "
                f"{first_of(with_reasons(data.unreadable))}; mend or delete them, or pass --skip-unreadable to leave "
                "them out"
            )
        left = [part.without(set(data.unreadable)) for part in self._parts]
        refuse_small_classes(self.folder, self.files.classes, left, FEWEST, "readable images")
        return data

    def in_two_classes(self) -> list[str]:
        """Pictures that are in more than one class, with the same bytes: `cat/1.png = dog/7.png`."""
        return [" = ".join(names) for names in same_in_two_classes(self._parts)]

    @property
    def _parts(self) -> tuple[ImageFiles, ImageFiles, ImageFiles]:
        return self.files.train, self.files.validation, self.files.test

    def _look(self) -> tuple[list[int], bool]:
        """The shorter side of some pictures, and whether all of them are grey; of the readable ones."""
        train = self.files.train
        chosen = random.Random(SPLIT_SEED).sample(range(len(train)), min(LOOKED_AT, len(train)))
        sides, grey = [], True
        for path in train.paths(np.array(chosen)):
            try:
                picture = open_picture(Path(path).read_bytes(), MOST_PIXELS)
            except (OSError, EmpirError):
                continue  # named when everything is decoded
            sides.append(min(picture.size))
            grey = grey and picture.mode in GREY_MODES
        return sides or [SIZES[1]], grey and bool(sides)


def images_of(manifest: Manifest, folder: Path | None, *, skip_unreadable: bool = False) -> DataSet:
    """The images that the bundle was made of, in the same splits; unreadable ones are left out if they were then.

    Raises DataError if `folder` is not their folder, and as `OwnImages.load` does.
    """
    if folder is None:
        raise DataError(
            f"{manifest.name}: trained on a folder of images, {manifest.provenance.data_set}; "
            "expected that folder, --data-dir DIR"
        )
    skip = skip_unreadable or manifest.provenance.skipped_images > 0
    data = OwnImages.survey(folder).load(manifest.input, skip_unreadable=skip)
    if data.md5 != manifest.provenance.data_md5 or data.labels != manifest.labels:
        raise DataError(
            f"{folder}: expected the images that {manifest.name} was made of ({manifest.provenance.data_set}), got "
            "others: names or sizes of files differ, and what was held out then may not be held out now"
        )
    return data
