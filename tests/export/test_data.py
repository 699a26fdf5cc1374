"""export/data.py: MNIST found, fetched, checked and split, with files of a few images in the publisher's format."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pooch
import pytest
from numpy.typing import NDArray

from export import data
from export.data import DataError, Split, hold_out, load_mnist

N_TRAIN, N_VALIDATION, N_TEST = 30, 6, 8

Publisher = dict[str, bytes]
"""The publisher's files by name."""


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
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """A small MNIST, with its checksums in place of the real ones; image i of class i % 10."""
    files = {
        "train-images-idx3-ubyte.gz": idx(numbered(N_TRAIN, 0)),
        "train-labels-idx1-ubyte.gz": idx(np.arange(N_TRAIN, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte.gz": idx(numbered(N_TEST, 100)),
        "t10k-labels-idx1-ubyte.gz": idx(np.arange(100, 100 + N_TEST, dtype=np.uint8) % 10),
    }
    assert list(files) == list(data.MNIST_MD5)
    monkeypatch.setattr(data, "MNIST_MD5", {name: hashlib.md5(content).hexdigest() for name, content in files.items()})
    monkeypatch.setattr(data, "VALIDATION_IMAGES", N_VALIDATION)
    return files


def put(files: Publisher, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], bytes]], list[str]]:
    """Puts a function from URL to content in the network's place, and lists the URLs asked for."""

    def install(serve: Callable[[str], bytes]) -> list[str]:
        asked: list[str] = []

        def download(self: pooch.HTTPDownloader, url: str, output_file: str, *args: object, **kwargs: object) -> None:
            asked.append(url)
            with Path(output_file).open("wb") as file:
                _write_halves(file, serve(url))

        monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
        return asked

    return install


def _write_halves(file: IO[bytes], content: bytes) -> None:
    file.write(content[: len(content) // 2])
    if content.endswith(b"CUT"):
        raise ConnectionResetError("the line went dead")
    file.write(content[len(content) // 2 :])


@pytest.mark.parametrize("folder", ["mnist", "."])
def test_files_beside_one_another_become_three_splits(folder: str, publisher: Publisher, tmp_path: Path) -> None:
    put(publisher, tmp_path / folder)
    mnist = load_mnist(tmp_path)

    assert [len(split) for split in (mnist.train, mnist.validation, mnist.test)] == [24, 6, 8]
    assert (mnist.name, mnist.labels, mnist.image_shape) == ("MNIST", tuple("0123456789"), (1, 28, 28))
    assert mnist.md5 == data.MNIST_MD5
    numbers = [split.images[:, 0, 0, 0].astype(int).tolist() for split in (mnist.train, mnist.validation)]
    assert sorted(numbers[0] + numbers[1]) == list(range(N_TRAIN))
    for split in (mnist.train, mnist.validation, mnist.test):
        assert split.classes.dtype == np.int64
        np.testing.assert_array_equal(split.images[:, 0, 0, 0] % 10, split.classes)
    np.testing.assert_array_equal(mnist.test.images[:, 0], numbered(N_TEST, 100))


def test_the_split_is_the_same_every_time_and_that_of_the_real_mnist_is_known() -> None:
    everything = Split(np.zeros((60_000, 1, 1, 1), np.uint8), np.arange(60_000))
    train, validation = hold_out(everything, data.VALIDATION_IMAGES)
    again = hold_out(everything, data.VALIDATION_IMAGES)

    assert (len(train), len(validation)) == (55_000, 5_000)
    assert not set(train.classes) & set(validation.classes)
    np.testing.assert_array_equal(again[1].classes, validation.classes)
    assert validation.classes[:8].tolist() == [9, 24, 49, 60, 65, 66, 72, 73]  # whatever NumPy's version


def test_pixels_are_float32_of_0_to_1() -> None:
    split = Split(np.arange(256, dtype=np.uint8).reshape(64, 1, 2, 2), np.zeros(64, np.int64))
    pixels = split.pixels()
    assert pixels.dtype == np.float32 and (pixels.min(), pixels.max()) == (0, 1)
    np.testing.assert_array_equal(np.rint(pixels * 255), split.images)
    np.testing.assert_array_equal(split.pixels(3, 5), pixels[3:5])


def test_an_altered_file_is_refused_by_name_with_both_sums(publisher: Publisher, tmp_path: Path) -> None:
    put(publisher, tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(publisher[path.name] + b"x")
    with pytest.raises(DataError) as refusal:
        load_mnist(tmp_path)
    for expected in (str(path), data.MNIST_MD5[path.name], hashlib.md5(path.read_bytes()).hexdigest()):
        assert expected in str(refusal.value)


def test_a_missing_file_is_named_with_what_belongs_beside_it(publisher: Publisher, tmp_path: Path) -> None:
    put(publisher, tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(DataError) as refusal:
        load_mnist(tmp_path)
    assert str(refusal.value).startswith(f"{path}: missing; ")
    assert all(name in str(refusal.value) for name in publisher)


@pytest.mark.parametrize("given", [True, False], ids=["data_dir", "cache"])
def test_what_is_not_there_is_downloaded_once(
    given: bool,
    publisher: Publisher,
    network: Callable[[Callable[[str], bytes]], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    asked = network(lambda url: publisher[url.rsplit("/", 1)[1]])
    folder = tmp_path / "mnist" if given else tmp_path / "empir" / "mnist"
    for _ in range(2):
        assert len(load_mnist(tmp_path if given else None).train) == 24
    assert asked == [data.MNIST_URLS[0] + name for name in publisher]
    assert sorted(path.name for path in folder.iterdir()) == sorted(publisher)


def test_a_mirror_steps_in(
    publisher: Publisher, network: Callable[[Callable[[str], bytes]], list[str]], tmp_path: Path
) -> None:
    def serve(url: str) -> bytes:
        if url.startswith(data.MNIST_URLS[0]):
            raise ConnectionError("down")
        return publisher[url.rsplit("/", 1)[1]]

    asked = network(serve)
    assert len(load_mnist(tmp_path).test) == N_TEST
    assert len(asked) == 8


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"0123456789CUT", "ConnectionResetError"), (b"<html>Please log in</html>", "ValueError")],
    ids=["interrupted", "another file"],
)
def test_a_failed_download_says_what_to_put_where_and_leaves_nothing(
    content: bytes,
    reason: str,
    publisher: Publisher,
    network: Callable[[Callable[[str], bytes]], list[str]],
    tmp_path: Path,
) -> None:
    network(lambda url: content)
    with pytest.raises(DataError) as refusal:
        load_mnist(tmp_path)
    assert not (tmp_path / "mnist").exists()
    message = str(refusal.value)
    assert message.startswith(f"MNIST is not in {tmp_path / 'mnist'} and could not be downloaded (")
    assert all(f"{url}: {reason}" in message for url in data.MNIST_URLS)
    assert f"Put {', '.join(publisher)} into DIR/mnist and pass --data-dir DIR, or set EMPIR_DATA_DIR." in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
