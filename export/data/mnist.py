"""MNIST: four IDX files, 70,000 digits."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data.examples import VALIDATION_IMAGES, DataSet, Split, hold_out
from export.data.fetch import Published

MNIST = Published(
    title="MNIST",
    folder="mnist",
    md5={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    urls=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
)


def load_mnist(data_dir: Path | None) -> DataSet:
    """MNIST (LeCun, Cortes, Burges): 55,000 training, 5,000 validation (seed 0) and 10,000 test images of 1 x 28 x 28.

    From `data_dir`/mnist or `data_dir` itself if the files are there, else downloaded to `data_dir`/mnist, or to the
    user's cache folder. Raises DataError if that fails or a file is not the publisher's.
    """
    folder = MNIST.find(data_dir) or MNIST.fetch(data_dir)
    train, validation = hold_out(_read_split(folder, "train"), VALIDATION_IMAGES)
    return DataSet("MNIST", tuple("0123456789"), train, validation, _read_split(folder, "t10k"), MNIST.md5)


def _read_split(folder: Path, prefix: str) -> Split:
    images = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    classes = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    return Split(images[:, None], classes.astype(np.int64))


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: 2 zero bytes, the type, the number of axes, their lengths, the data."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
