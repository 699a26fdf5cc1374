"""The test images of the data set that a bundle was trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.cifar10 import load_cifar10
from export.data.examples import DataError, DataSet, Examples, Indices, as_pixels
from export.data.imagenet import load_imagenet, load_imagenette
from export.data.mnist import load_mnist
from export.data.own_folder import PREFIX, images_of
from runtime.manifest import Input, Manifest

Loader = Callable[[Path | None, Input, bool], DataSet]
"""From a folder, what images are to be like, and whether unreadable ones are left out."""

LOADERS: dict[str, Loader] = {
    "MNIST": lambda data_dir, spec, skip: load_mnist(data_dir),
    "CIFAR-10": lambda data_dir, spec, skip: load_cifar10(data_dir),
    "ImageNet": lambda data_dir, spec, skip: load_imagenet(data_dir, spec, skip_unreadable=skip),
    "Imagenette": lambda data_dir, spec, skip: load_imagenette(data_dir, spec, skip_unreadable=skip),
}
"""By the name that a manifest's provenance has."""


@dataclass(frozen=True)
class HeldOut:
    """The test split of a data set."""

    name: str
    sums: dict[str, str]
    test: Examples
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Images of the data set that are left out, by name, and why."""

    @property
    def classes(self) -> Indices:
        """Class of each image, int64 [N]."""
        return self.test.classes

    def pixels(self, indices: Indices) -> NDArray[np.float32]:
        """Those images, float32 [B, C, H, W] in [0, 1]."""
        return as_pixels(self.test.batch(indices))


def held_out(manifest: Manifest, data_dir: Path | None, skip_unreadable: bool = False) -> HeldOut:
    """The test images of the bundle with this manifest; unreadable ones are left out if they were for its training.

    Those of a bundle trained on a folder of images are in the folder `data_dir` itself. Raises DataError if the data
    set is neither that nor one of `LOADERS`, or at an unreadable image that is not to be skipped.
    """
    name = manifest.provenance.data_set
    if manifest.provenance.recipe.startswith(PREFIX):
        own = images_of(manifest, data_dir, skip_unreadable=skip_unreadable)
        return HeldOut(own.name, own.md5, own.test, own.unreadable)
    if name not in LOADERS:
        raise DataError(f"{manifest.name}: trained on {name!r}, expected one of {', '.join(LOADERS)}: pass --images")
    skip = skip_unreadable or manifest.provenance.skipped_images > 0
    data = LOADERS[name](data_dir, manifest.input, skip)
    if data.labels != manifest.labels:
        raise DataError(
            f"{manifest.name}: its labels are {manifest.labels[:3]}..., those of {name} {data.labels[:3]}..."
        )
    return HeldOut(data.name, data.md5, data.test, data.unreadable)
