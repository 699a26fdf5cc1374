"""Data sets: found in a folder or fetched from their publishers, checked, and split the same way every time."""

import gzip
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
from numpy.typing import NDArray

from runtime.errors import EmpirError

VALIDATION_IMAGES = 5_000
SPLIT_SEED = 0

MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
MNIST_URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


class DataError(EmpirError):
    """A data set that is missing or not what its publisher shipped."""

    code = "bad_data"


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    def pixels(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Images start..stop as the members take them: float32 [N, C, H, W] in [0, 1]."""
        return self.images[start:stop].astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class DataSet:
    """A data set in three splits: train to learn from, validation for every choice, test for the final figure alone."""

    name: str
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    md5: dict[str, str]

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.train.images.shape[1:]


def load_mnist(data_dir: Path | None) -> DataSet:
    """MNIST (LeCun, Cortes, Burges): 55,000 training, 5,000 validation (seed 0) and 10,000 test images of 1 x 28 x 28.

    From `data_dir`/mnist or `data_dir` itself if the files are there, else downloaded to `data_dir`/mnist, or to the
    user's cache folder. Raises DataError if that fails or a file is not the publisher's.
    """
    folder = _mnist_folder(data_dir)
    images, classes = (_read_idx(folder / f"train-{part}.gz") for part in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    test_images, test_classes = (
        _read_idx(folder / f"t10k-{part}.gz") for part in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    everything = Split(images[:, None], classes.astype(np.int64))
    train, validation = hold_out(everything, VALIDATION_IMAGES)
    test = Split(test_images[:, None], test_classes.astype(np.int64))
    return DataSet("MNIST", tuple("0123456789"), train, validation, test, MNIST_MD5)


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """The split without `count` images, chosen by a fixed seed, and those images."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(split))
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    return Split(split.images[kept], split.classes[kept]), Split(split.images[held], split.classes[held])


def _mnist_folder(data_dir: Path | None) -> Path:
    first = next(iter(MNIST_MD5))
    for folder in () if data_dir is None else (data_dir / "mnist", data_dir):
        if (folder / first).exists():
            for name, md5 in MNIST_MD5.items():
                _check_file(folder / name, md5)
            return folder
    target = Path(pooch.os_cache("empir")) / "mnist" if data_dir is None else data_dir / "mnist"
    new = [folder for folder in (target, *target.parents) if not folder.exists()]
    try:
        for name, md5 in MNIST_MD5.items():
            _fetch(name, md5, target)
    except DataError:
        for folder in new:
            with suppress(OSError):  # leave no empty folders behind; one with a finished download stays
                folder.rmdir()
        raise
    return target


def _check_file(path: Path, md5: str) -> None:
    if not path.exists():
        raise DataError(f"{path}: missing; expected MNIST's four files beside one another: {', '.join(MNIST_MD5)}")
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path}: expected md5 {md5} (the publisher's file), got {found}; delete it or put the original there"
        )


def _fetch(name: str, md5: str, target: Path) -> None:
    """Download one file; pooch writes to a temporary file, checks the sum, then renames."""
    reasons = []
    for base in MNIST_URLS:
        try:
            pooch.retrieve(base + name, known_hash=f"md5:{md5}", fname=name, path=target, progressbar=True)
            return
        except (OSError, ValueError) as error:  # no network, refused; or a sum that differs
            reasons.append(f"{base}: {type(error).__name__}")
    raise DataError(
        f"MNIST is not in {target} and could not be downloaded ({'; '.join(reasons)}). "
        f"Put {', '.join(MNIST_MD5)} into DIR/mnist and pass --data-dir DIR, or set EMPIR_DATA_DIR."
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: 2 zero bytes, the type, the number of axes, their lengths, the data."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
