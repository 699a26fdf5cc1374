"""export/data/mnist.py: files of a few digits in the publisher's format."""

import dataclasses
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.data import mnist
from export.data.examples import Split
from export.data.mnist import MNIST, load_mnist
from tests.publisher import Files, install_network, put

N_TRAIN, N_VALIDATION, N_TEST = 30, 6, 8


def idx(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of unsigned bytes, compressed."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def numbered(count: int, first: int) -> NDArray[np.uint8]:
    """Images [count, 28, 28] that differ, the first pixel being first, first + 1, ..."""
    images = np.random.default_rng(first).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[:, 0, 0] = np.arange(first, first + count)
    return images


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Files:
    """A small MNIST, with its checksums in place of the real ones; image i of class i % 10."""
    files = {
        "train-images-idx3-ubyte.gz": idx(numbered(N_TRAIN, 0)),
        "train-labels-idx1-ubyte.gz": idx(np.arange(N_TRAIN, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte.gz": idx(numbered(N_TEST, 100)),
        "t10k-labels-idx1-ubyte.gz": idx(np.arange(100, 100 + N_TEST, dtype=np.uint8) % 10),
    }
    assert list(files) == list(MNIST.md5)
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(MNIST, md5=sums))
    monkeypatch.setattr(mnist, "VALIDATION_IMAGES", N_VALIDATION)
    return files


def test_files_become_three_splits(publisher: Files, tmp_path: Path) -> None:
    put(publisher, tmp_path / "mnist")
    data = load_mnist(tmp_path)

    assert [len(split) for split in (data.train, data.validation, data.test)] == [24, 6, 8]
    assert (data.name, data.labels, data.image_shape) == ("MNIST", tuple("0123456789"), (1, 28, 28))
    assert data.md5 == mnist.MNIST.md5
    numbers = []
    for split in (data.train, data.validation, data.test):
        assert isinstance(split, Split) and split.classes.dtype == np.int64
        np.testing.assert_array_equal(split.images[:, 0, 0, 0] % 10, split.classes)
        numbers += split.images[:, 0, 0, 0].tolist()
    assert sorted(numbers) == [*range(N_TRAIN), *range(100, 100 + N_TEST)]
    np.testing.assert_array_equal(data.test.batch(np.arange(N_TEST))[:, 0], numbered(N_TEST, 100))


def test_files_that_are_not_there_are_downloaded(
    publisher: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = install_network(monkeypatch, lambda url: publisher[url.rsplit("/", 1)[1]])
    assert len(load_mnist(tmp_path).test) == N_TEST
    assert asked == [MNIST.urls[0] + name for name in publisher]
