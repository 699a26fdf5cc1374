"""export/data/cifar10.py: records of a few photos in the publisher's format, unpacked and in the archive."""

import dataclasses
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.data import cifar10
from export.data.cifar10 import ARCHIVE, BATCHES, LABELS, load_cifar10
from export.data.examples import DataError
from tests.publisher import Files, install_network, put

N_RECORDS, N_VALIDATION = 8, 10


def records(first: int) -> bytes:
    """Records whose class is their number % 10; red, green and blue are the number, 100 and 200 with a row's number."""
    content = b""
    for number in range(first, first + N_RECORDS):
        content += bytes([number % 10])
        for level in (number, 100, 200):
            content += b"".join(bytes([level + row]) * 32 for row in range(32))
    return content


def packed(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in ({"batches.meta.txt": b"airplane\n"} | dict(reversed(files.items()))).items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Files:
    """A small CIFAR-10, with its checksums in place of the real ones."""
    files = {name: records(index * N_RECORDS) for index, name in enumerate(BATCHES.md5)}
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(cifar10, "BATCHES", dataclasses.replace(BATCHES, md5=sums))
    monkeypatch.setattr(cifar10, "VALIDATION_IMAGES", N_VALIDATION)
    return files


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch) -> Callable[[Files], Files]:
    """The archive of some files, with its checksum in place of the real one."""

    def pack(files: Files) -> Files:
        archive = {"cifar-10-binary.tar.gz": packed(files)}
        sums = {name: hashlib.md5(content).hexdigest() for name, content in archive.items()}
        monkeypatch.setattr(cifar10, "ARCHIVE", dataclasses.replace(ARCHIVE, md5=sums))
        return archive

    return pack


def check(data_dir: Path) -> None:
    data = load_cifar10(data_dir)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [30, 10, 8]
    assert (data.name, data.labels, data.image_shape) == ("CIFAR-10", LABELS, (3, 32, 32))
    assert data.md5 == cifar10.BATCHES.md5
    numbers = []
    for split in (data.train, data.validation, data.test):
        images = split.batch(np.arange(len(split)))
        red = images[:, 0, 0, 0].astype(np.int64)
        rows = np.arange(32)[:, None]
        for image, number in zip(images, red, strict=True):
            np.testing.assert_array_equal(
                image, [np.broadcast_to(level + rows, (32, 32)) for level in (number, 100, 200)]
            )
        np.testing.assert_array_equal(split.classes, red % 10)
        numbers += red.tolist()
    assert sorted(numbers[:40]) == list(range(40)) and numbers[40:] == list(range(40, 48))


@pytest.mark.parametrize("folder", ["cifar-10-batches-bin", "."])
def test_unpacked_files_become_three_splits(folder: str, publisher: Files, tmp_path: Path) -> None:
    put(publisher, tmp_path / folder)
    check(tmp_path)


@pytest.mark.parametrize("folder", ["cifar10", "."])
def test_the_archive_does_as_well_and_is_not_unpacked(
    folder: str, publisher: Files, ship: Callable[[Files], Files], tmp_path: Path
) -> None:
    put(ship(publisher), tmp_path / folder)
    check(tmp_path)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_the_archive_is_downloaded(
    publisher: Files, ship: Callable[[Files], Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ship(publisher)
    asked = install_network(monkeypatch, lambda url: archive[url.rsplit("/", 1)[1]])
    for _ in range(2):
        check(tmp_path)
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]


def test_an_altered_file_is_refused_by_name_with_both_sums(publisher: Files, tmp_path: Path) -> None:
    put(publisher | {"data_batch_3.bin": records(7)}, tmp_path)
    with pytest.raises(DataError) as refusal:
        load_cifar10(tmp_path)
    for expected in (
        str(tmp_path / "data_batch_3.bin"),
        cifar10.BATCHES.md5["data_batch_3.bin"],
        hashlib.md5(records(7)).hexdigest(),
    ):
        assert expected in str(refusal.value)


def test_an_archive_with_another_content_is_refused(
    publisher: Files, ship: Callable[[Files], Files], tmp_path: Path
) -> None:
    put(ship(publisher | {"test_batch.bin": records(7)}), tmp_path)
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz: test_batch.bin: expected md5 \w{32} .*, got \w{32}"):
        load_cifar10(tmp_path)
    del publisher["data_batch_2.bin"]
    put(ship(publisher), tmp_path)
    with pytest.raises(DataError, match=r"expected data_batch_1.bin, .* inside, data_batch_2.bin missing"):
        load_cifar10(tmp_path)
