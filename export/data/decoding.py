"""Decoding: image files to uint8 images, many at a time, by the rules that serving has."""

import multiprocessing
import os
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from export.data.examples import DataError, Levels
from runtime.errors import EmpirError
from runtime.images import decode_image
from runtime.manifest import Input

MOST_PIXELS = 100_000_000
"""More than serving allows: these files are the user's own, and ImageNet has photos of 60 megapixels."""
FEW = 32
"""So few files are decoded faster than processes start."""
CHUNK = 16
AHEAD = 2


@dataclass(frozen=True)
class Decoded:
    """The readable of some files, uint8 [n, C, H, W] in their order, and why the others are not, by path."""

    images: Levels
    unreadable: dict[str, str]


class Decoder:
    """Decodes files as `spec` has it, in spawned processes that start when there is enough to do.

    A pixel is what `runtime.images.decode_image` gives a server, rounded to the nearest of 256 levels: pictures that
    need no resizing have these levels already. The processes end with this object, or with the process that has it.
    """

    def __init__(self, spec: Input, workers: int | None = None) -> None:
        self.spec = spec
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def decode(self, batches: Iterable[Sequence[str]]) -> Iterator[Decoded]:
        """What each batch of paths gives, in order; the next two batches are decoded meanwhile.

        Raises DataError if a decoding process dies.
        """
        under_way: deque[list[Future[Decoded]]] = deque()
        for paths in batches:
            under_way.append(self._submit(paths))
            if len(under_way) > AHEAD:
                yield self._collect(under_way.popleft())
        while under_way:
            yield self._collect(under_way.popleft())

    def close(self) -> None:
        """End the processes now; they start again when they are needed."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _submit(self, paths: Sequence[str]) -> list[Future[Decoded]]:
        if self._pool is None and len(paths) <= FEW:
            done: Future[Decoded] = Future()
            done.set_result(decode_files(paths, self.spec))
            return [done]
        if self._pool is None:
            self._pool = self._start()
        try:
            starts = range(0, max(1, len(paths)), CHUNK)
            return [self._pool.submit(decode_files, paths[i : i + CHUNK], self.spec) for i in starts]
        except BrokenProcessPool as error:
            raise self._broken() from error

    def _start(self) -> ProcessPoolExecutor:
        from runtime.ensemble import usable_cores  # here, so that the processes do without ONNX Runtime

        spawn = multiprocessing.get_context("spawn")  # fork is not safe once sessions or threads exist
        pool = ProcessPoolExecutor(self._workers or usable_cores(), spawn, _end_with_parent)
        # The pool is part of a cycle: without this its processes would stay until the next collection.
        weakref.finalize(self, pool.shutdown, wait=False, cancel_futures=True)
        return pool

    def _collect(self, futures: list[Future[Decoded]]) -> Decoded:
        try:
            parts = [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise self._broken() from error
        unreadable = {path: reason for part in parts for path, reason in part.unreadable.items()}
        return Decoded(np.concatenate([part.images for part in parts]), unreadable)

    def _broken(self) -> DataError:
        self._pool = None
        return DataError("a process that decodes images died; is there memory enough for their number?")


def decode_files(paths: Sequence[str], spec: Input) -> Decoded:
    """Decode files one after the other, here."""
    images = np.empty((len(paths), spec.channels, spec.height, spec.width), np.uint8)
    unreadable = {}
    count = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata: they do not change a pixel
        for path in paths:
            try:
                pixels = decode_image(Path(path).read_bytes(), spec, MOST_PIXELS)
            except OSError as error:
                unreadable[path] = error.strerror or type(error).__name__
            except EmpirError as error:
                unreadable[path] = str(error)
            else:
                images[count] = np.rint(pixels[0] * 255)
                count += 1
    return Decoded(images[:count], unreadable)


def unreadable_image(path: str, reason: str) -> DataError:
    """The error that names an unreadable file."""
    return DataError(f"{path}: cannot be read ({reason}); mend or delete it, or leave it out: --skip-unreadable")


def _end_with_parent() -> None:
    """Have this process end when its parent does, however that ends: a killed one cannot say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
