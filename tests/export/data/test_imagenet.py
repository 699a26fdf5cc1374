"""export/data/imagenet.py: where ImageNet and Imagenette are looked for, and Imagenette unpacked."""

import dataclasses
import hashlib
import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pooch
import pytest

from export.data import imagenet
from export.data.examples import DataError, DataSet
from export.data.image_folder import FolderOptions
from export.data.imagenet import IMAGENETTE, load_imagenet, load_imagenette
from runtime.manifest import Input
from tests.pictures import SPEC, write_classes
from tests.publisher import Files, install_network

CLASSES = ("n01440764", "n02102040")
LABELS = ("tench", "English springer")
ARCHIVE = "imagenette2-320.tgz"


@pytest.fixture
def options(tmp_path: Path) -> FolderOptions:
    return {"cache_dir": tmp_path / "cache"}


@pytest.fixture
def few_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both data sets have the two classes that `write_set` writes."""
    for name in ("IMAGENET_CLASSES", "IMAGENETTE_CLASSES"):
        monkeypatch.setattr(imagenet, name, len(CLASSES))


def write_set(folder: Path) -> Path:
    """10 training and 2 validation images of each of two classes."""
    for split, count in (("train", 10), ("val", 2)):
        write_classes(folder / split, dict.fromkeys(CLASSES, count))
    return folder


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A small Imagenette, with its checksum in place of the real one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(write_set(tmp_path / "published"), arcname="imagenette2-320")
    return publish(buffer.getvalue(), monkeypatch)


def publish(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Files:
    sums = {ARCHIVE: hashlib.md5(content).hexdigest()}
    monkeypatch.setattr(imagenet, "IMAGENETTE", dataclasses.replace(IMAGENETTE, md5=sums))
    return {ARCHIVE: content}


@pytest.mark.usefixtures("few_classes")
@pytest.mark.parametrize("folder", ["imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "."])
def test_imagenet_is_found(folder: str, tmp_path: Path, options: FolderOptions) -> None:
    write_set(tmp_path / "data" / folder)
    data = load_imagenet(tmp_path / "data", SPEC, **options)
    assert (data.name, data.labels) == ("ImageNet", LABELS)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)


@pytest.mark.parametrize(
    ("load", "expected"),
    [(load_imagenet, "1,000 class folders of ImageNet"), (load_imagenette, "10 class folders of Imagenette")],
    ids=["ImageNet", "Imagenette"],
)
def test_any_other_data_set_beside_a_train_folder_is_refused(
    load: Callable[[Path, Input], DataSet], expected: str, tmp_path: Path
) -> None:
    write_set(tmp_path)
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path))}/train: expected the {expected}, got 2$"):
        load(tmp_path, SPEC)


@pytest.mark.parametrize("given", [True, False], ids=["data_dir", "none"])
def test_imagenet_that_is_not_there_cannot_be_had(given: bool, tmp_path: Path) -> None:
    where = tmp_path if given else "a folder that was named"
    with pytest.raises(DataError, match=f"^ImageNet is not in {where}. Get ILSVRC 2012 from .* DIR/imagenet, or set"):
        load_imagenet(tmp_path if given else None, SPEC)


@pytest.mark.usefixtures("few_classes")
@pytest.mark.parametrize("folder", ["imagenette", "imagenette2-160", "imagenette2", "."])
def test_imagenette_is_found(folder: str, tmp_path: Path, options: FolderOptions) -> None:
    write_set(tmp_path / "data" / folder)
    data = load_imagenette(tmp_path / "data", SPEC, **options)
    assert (data.name, data.labels) == ("Imagenette", LABELS)


@pytest.mark.usefixtures("few_classes")
@pytest.mark.parametrize("given", [True, False], ids=["data_dir", "cache"])
def test_imagenette_is_downloaded_and_unpacked_once(
    given: bool, publisher: Files, tmp_path: Path, options: FolderOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    asked = install_network(monkeypatch, lambda url: publisher[url.rsplit("/", 1)[1]])
    place = tmp_path / "data" if given else tmp_path / "empir"
    for _ in range(2):
        data = load_imagenette(tmp_path / "data" if given else None, SPEC, **options)
        assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    assert asked == [IMAGENETTE.urls[0] + ARCHIVE]
    assert sorted(path.name for path in (place / "imagenette").iterdir()) == ["imagenette2-320", ARCHIVE]


def test_an_archive_that_cannot_be_unpacked_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = publish(b"not an archive", monkeypatch)
    install_network(monkeypatch, lambda url: files[url.rsplit("/", 1)[1]])
    with pytest.raises(
        DataError, match=rf"^{tmp_path}/imagenette/{ARCHIVE}: cannot be unpacked to .*/imagenette2-320: "
    ):
        load_imagenette(tmp_path, SPEC)
    assert [path.name for path in (tmp_path / "imagenette").iterdir()] == [ARCHIVE]
