"""CIFAR-10: the binary version, 60,000 small photos of ten kinds of things."""

import tarfile
from pathlib import Path

import numpy as np

from export.data.examples import VALIDATION_IMAGES, DataError, DataSet, Indices, Levels, Split, hold_out
from export.data.fetch import Published

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGE_SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
"""The class, then the red, the green and the blue plane."""

BATCHES = Published(
    title="CIFAR-10",
    folder="cifar-10-batches-bin",
    md5={
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
)
ARCHIVE = Published(
    title="CIFAR-10",
    folder="cifar10",
    md5={"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
    urls=("https://www.cs.toronto.edu/~kriz/",),
)


def load_cifar10(data_dir: Path | None) -> DataSet:
    """CIFAR-10 (Krizhevsky, 2009): 45,000 training, 5,000 validation (seed 0) and 10,000 test images of 3 x 32 x 32.

    From the unpacked files in `data_dir`/cifar-10-batches-bin or `data_dir` itself, or the archive
    cifar-10-binary.tar.gz in `data_dir`/cifar10 or `data_dir`, else downloaded to `data_dir`/cifar10, or to the user's
    cache folder. The archive is read as it is, never unpacked. Raises DataError if that fails or a file is not the
    publisher's.
    """
    files = _read_files(data_dir)
    *training, last = (_read_records(content) for content in files.values())
    images, classes = (np.concatenate(part) for part in zip(*training, strict=True))
    train, validation = hold_out(Split(images, classes), VALIDATION_IMAGES)
    return DataSet("CIFAR-10", LABELS, train, validation, Split(*last), BATCHES.md5)


def _read_files(data_dir: Path | None) -> dict[str, bytes]:
    folder = BATCHES.find(data_dir)
    if folder is not None:
        return {name: (folder / name).read_bytes() for name in BATCHES.md5}
    folder = ARCHIVE.find(data_dir) or ARCHIVE.fetch(data_dir)
    return _read_archive(folder / next(iter(ARCHIVE.md5)))


def _read_archive(path: Path) -> dict[str, bytes]:
    """The content of each file of `BATCHES`, in its order."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member) if name in BATCHES.md5 else None
            if file is not None:
                found[name] = file.read()
                BATCHES.check_content(f"{path}: {name}", name, found[name])
    missing = [name for name in BATCHES.md5 if name not in found]
    if missing:
        raise DataError(f"{path}: expected {', '.join(BATCHES.md5)} inside, {', '.join(missing)} missing")
    return {name: found[name] for name in BATCHES.md5}


def _read_records(content: bytes) -> tuple[Levels, Indices]:
    """Images uint8 [N, 3, 32, 32] and their classes int64 [N]."""
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    return records[:, 1:].reshape(-1, *IMAGE_SHAPE), records[:, 0].astype(np.int64)
