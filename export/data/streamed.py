"""Streamed split: images that are decoded whenever they are asked for, so that any number of them fits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.data.decoding import Decoder, unreadable_image
from export.data.examples import Indices, Levels, as_pixels
from export.data.image_files import ImageFiles


@dataclass(frozen=True)
class StreamedSplit:
    """Examples on disk: image files, and who decodes them. Memory is taken for three batches at most.

    Every way to the images raises DataError, naming the file, at one that cannot be read.
    """

    files: ImageFiles
    decoder: Decoder

    def __len__(self) -> int:
        return len(self.files)

    @property
    def classes(self) -> Indices:
        return self.files.classes

    @property
    def image_shape(self) -> tuple[int, ...]:
        spec = self.decoder.spec
        return spec.channels, spec.height, spec.width

    def batch(self, indices: Indices) -> Levels:
        return next(self.batches([indices]))

    def batches(self, order: Iterable[Indices]) -> Iterator[Levels]:
        for decoded in self.decoder.decode(self.files.paths(indices) for indices in order):
            for path, reason in decoded.unreadable.items():
                raise unreadable_image(path, reason)
            yield decoded.images

    def pixels(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        return as_pixels(self.batch(np.arange(len(self))[start:stop]))
