"""Decoded once: what decoding many files gave, kept in a cache folder until one of the files changes."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from filelock import FileLock
from tqdm import tqdm

import runtime.images
from export.data.decoding import Decoder, unreadable_image
from export.data.examples import DataError, Levels
from export.data.image_files import ImageFiles

BLOCK = 256


@dataclass(frozen=True)
class DecodedOnce:
    """The files that can be decoded; why the others cannot, by name; and the images of the former, if they were kept.

    `images` are uint8 [N, C, H, W], mapped into memory from the cache; writing to them does not change it.
    """

    files: ImageFiles
    unreadable: dict[str, str]
    images: Levels | None


def decode_once(
    files: ImageFiles, decoder: Decoder, cache: Path, title: str, *, keep_images: bool, skip_unreadable: bool
) -> DecodedOnce:
    """Decode all files, or remember what that gave the last time; `title` is what the progress on a terminal says.

    What was kept for an earlier state of the same files is deleted. Raises DataError, naming the file, at an unreadable
    image unless `skip_unreadable`; if none is readable; and if the cache cannot be written.
    """
    entry = _Entry(files, decoder, cache, title, keep_images)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.path("lock")):
            if not entry.is_whole():
                entry.forget()
                entry.write(skip_unreadable)
            unreadable: dict[str, str] = json.loads(entry.record.read_text(encoding="utf-8"))
            for name, reason in () if skip_unreadable else unreadable.items():
                raise unreadable_image(str(files.folder / name), reason)
            readable = files.without(set(unreadable))
            if len(readable) == 0:
                raise DataError(f"{files.folder}: none of {len(files):,} images for {title} can be read")
            return DecodedOnce(readable, unreadable, entry.images(len(readable)) if keep_images else None)
    except OSError as error:
        raise DataError(f"{cache}: expected a folder to keep decoded images in: {error.strerror or error}") from error


class _Entry:
    """`PLACE-CONTENT.u8`, the images, and beside it `.json`, the unreadable, which comes last and says it is whole."""

    def __init__(self, files: ImageFiles, decoder: Decoder, cache: Path, title: str, keep_images: bool) -> None:
        self._files, self._decoder, self._cache, self._title = files, decoder, cache, title
        self._keep_images = keep_images
        spec = decoder.spec.model_dump_json()
        rules = Path(runtime.images.__file__).read_text(encoding="utf-8") + PIL.__version__
        self._place = _short_sum(str(files.folder.resolve()), title, spec)
        self._content = _short_sum(files.fingerprint(), spec, rules)

    @property
    def record(self) -> Path:
        return self.path("json")

    def path(self, suffix: str) -> Path:
        name = self._place if suffix == "lock" else f"{self._place}-{self._content}"
        return self._cache / f"{name}.{suffix}"

    def is_whole(self) -> bool:
        return self.record.exists() and (not self._keep_images or self.path("u8").exists())

    def forget(self) -> None:
        """Delete what is left of earlier contents, and of a run that was killed."""
        for path in self._cache.glob(f"{self._place}-*"):
            with suppress(OSError):  # still mapped by another process, where the system minds
                path.unlink()

    def write(self, skip_unreadable: bool) -> None:
        if not self._keep_images:
            unreadable = self._decode(None, skip_unreadable)
        else:
            with self.path("u8").open("wb") as file:
                unreadable = self._decode(file, skip_unreadable)
                file.flush()
                os.fsync(file.fileno())
        self.record.write_text(json.dumps(unreadable), encoding="utf-8")

    def images(self, count: int) -> Levels:
        spec = self._decoder.spec
        return np.memmap(self.path("u8"), np.uint8, mode="c", shape=(count, spec.channels, spec.height, spec.width))

    def _decode(self, file: BinaryIO | None, skip_unreadable: bool) -> dict[str, str]:
        """Writes the images, not through a mapping: that would end the process when the disk is full."""
        files, unreadable = self._files, {}
        starts = range(0, len(files), BLOCK)
        blocks = [files.paths(np.arange(start, min(start + BLOCK, len(files)))) for start in starts]
        with tqdm(total=len(files), desc=self._title, unit=" images", disable=None) as bar:
            for block, decoded in zip(blocks, self._decoder.decode(blocks), strict=True):
                for path, reason in decoded.unreadable.items():
                    if not skip_unreadable:
                        raise unreadable_image(path, reason)
                    unreadable[Path(path).relative_to(files.folder).as_posix()] = reason
                if file is not None:
                    file.write(decoded.images.data)
                bar.update(len(block))
        return unreadable


def _short_sum(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
