"""export/data/image_folder.py: every layout, the same pixels either way, and every way a folder can be wrong."""

from pathlib import Path

import numpy as np
import pytest

from export.data.decoding import decode_files
from export.data.examples import DataError, DataSet, Examples, Split
from export.data.image_files import list_classes, listing_sha256
from export.data.image_folder import FolderOptions, folder_files, load_image_folder
from export.data.streamed import StreamedSplit
from tests.pictures import SPEC, write_classes, write_picture

COUNTS = {"cat": 20, "dog": 12}
"""Two cats and a dog are held out of these, and then, out of 18 and 11, the same."""
FEW = {"cat": 2, "dog": 3}


@pytest.fixture
def options(tmp_path: Path) -> FolderOptions:
    return {"cache_dir": tmp_path / "cache"}


def sizes(data: DataSet) -> tuple[int, ...]:
    return len(data.train), len(data.validation), len(data.test)


def all_images(examples: Examples) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return examples.batch(np.arange(len(examples)))


@pytest.mark.parametrize(
    ("splits", "train", "validation", "test"),
    [
        pytest.param((".",), 26, 3, 3, id="classes alone"),
        pytest.param(("train",), 26, 3, 3, id="train"),
        pytest.param(("train", "val"), 29, 3, 5, id="train, val"),
        pytest.param(("train", "test"), 29, 3, 5, id="train, test"),
        pytest.param(("train", "val", "test"), 32, 5, 5, id="all"),
    ],
)
def test_what_has_no_folder_is_held_out(
    splits: tuple[str, ...], train: int, validation: int, test: int, tmp_path: Path
) -> None:
    for split in splits:
        write_classes(tmp_path / split, COUNTS if split in ("train", ".") else FEW)
    files = folder_files(tmp_path)

    assert files.classes == ("cat", "dog")
    assert (len(files.train), len(files.validation), len(files.test)) == (train, validation, test)
    names = files.train.names + files.validation.names + files.test.names
    assert sorted(names) == sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    for part in (files.train, files.validation, files.test):
        assert [("cat", "dog")[index] for index in part.classes] == [name.split("/")[-2] for name in part.names]
    published = {"test": files.test} | ({"val": files.validation} if "test" in splits else {"val": files.test})
    for split in set(splits) & {"val", "test"}:
        assert published[split].names == list_classes(tmp_path, files.classes, split).names


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_classes(tmp_path, {"plane": 10, "train": 10})
    assert folder_files(tmp_path).classes == ("plane", "train")


@pytest.mark.parametrize(("most", "kind"), [(10**9, Split), (0, StreamedSplit)], ids=["cached", "streamed"])
def test_a_folder_becomes_a_data_set(most: int, kind: type, tmp_path: Path, options: FolderOptions) -> None:
    write_classes(tmp_path / "pets" / "train", COUNTS)
    write_classes(tmp_path / "pets" / "val", FEW)
    options["most_cached_bytes"] = most
    data = load_image_folder(tmp_path / "pets", SPEC, **options)

    assert (data.name, data.labels, data.image_shape, sizes(data)) == ("pets", ("cat", "dog"), (3, 8, 6), (29, 3, 5))
    assert data.skipped == 0
    files = folder_files(tmp_path / "pets")
    assert data.md5 == {"SHA-256 of names and sizes": listing_sha256(files.train, files.validation, files.test)}
    for examples, part in zip(
        (data.train, data.validation, data.test), (files.train, files.validation, files.test), strict=True
    ):
        assert isinstance(examples, kind)
        np.testing.assert_array_equal(examples.classes, part.classes)
        np.testing.assert_array_equal(all_images(examples), decode_files(part.paths(np.arange(len(part))), SPEC).images)


def test_the_limit_counts_every_byte(tmp_path: Path, options: FolderOptions) -> None:
    write_classes(tmp_path / "pets", COUNTS)
    for spare, kind in ((0, Split), (-1, StreamedSplit)):
        options["most_cached_bytes"] = 32 * 3 * 8 * 6 + spare
        assert isinstance(load_image_folder(tmp_path / "pets", SPEC, **options).test, kind)


def test_labels_of_imagenet_are_in_words(tmp_path: Path, options: FolderOptions) -> None:
    write_classes(tmp_path / "pets", {"n02102040": 10, "n01440764": 10})
    data = load_image_folder(tmp_path / "pets", SPEC, "Pets", **options)
    assert (data.name, data.labels) == ("Pets", ("tench", "English springer"))


@pytest.mark.parametrize("most", [10**9, 0], ids=["cached", "streamed"])
def test_unreadable_images_are_skipped_and_counted(most: int, tmp_path: Path, options: FolderOptions) -> None:
    write_classes(tmp_path / "pets" / "train", COUNTS)
    write_classes(tmp_path / "pets" / "val", FEW)
    options["most_cached_bytes"] = most
    names = folder_files(tmp_path / "pets").train.names
    spoilt = [
        tmp_path / "pets" / names[0],
        tmp_path / "pets" / names[-1],
        tmp_path / "pets" / "val" / "dog" / "001.png",
    ]
    for path in spoilt:
        path.write_bytes(path.read_bytes()[:70])
    with pytest.raises(DataError, match=rf"^{spoilt[0]}: cannot be read"):
        load_image_folder(tmp_path / "pets", SPEC, **options).train.pixels()
    options["skip_unreadable"] = True
    data = load_image_folder(tmp_path / "pets", SPEC, **options)
    assert data.skipped == 3 and sizes(data) == (27, 3, 4)
    assert [len(all_images(part)) for part in (data.train, data.validation, data.test)] == [27, 3, 4]


def test_a_class_without_a_readable_image_is_named(tmp_path: Path, options: FolderOptions) -> None:
    write_classes(tmp_path / "pets" / "train", COUNTS)
    write_classes(tmp_path / "pets" / "val", FEW)
    for path in (tmp_path / "pets" / "train" / "dog").iterdir():
        path.write_bytes(b"spoilt")
    options["skip_unreadable"] = True
    with pytest.raises(DataError, match=f"^{tmp_path}/pets: class dog has no readable image to train on$"):
        load_image_folder(tmp_path / "pets", SPEC, **options)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        pytest.param([], r": expected a folder \(train/CLASS/IMAGE .*\), got nothing$", id="nothing"),
        pytest.param(
            ["a.png", "b.png"],
            ": expected .* two or more classes, got 2 images beside each other: sort them into",
            id="flat",
        ),
        pytest.param(["cat/1.png", "cat/x/2.png"], ": expected .* two or more classes, got only cat$", id="one class"),
        pytest.param(
            ["all/cat/1.png", "all/dog/1.png"],
            ": expected .*, got only all, .* are the classes, name .*/all$",
            id="deep",
        ),
        pytest.param(
            ["train/cat/1.png", "val/cat/1.png"], "/train: expected .*, got only cat$", id="one class to train"
        ),
        pytest.param(
            ["cat/1.png", "dog/1.heic", "dog/.hidden"],
            r"/dog: expected images of this class \(.*, got 1 other file, such as 1.heic$",
            id="another format",
        ),
        pytest.param(
            ["train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/cow/1.png"],
            ": expected the same class folders in train/ and val/; cow is in one$",
            id="other classes",
        ),
        pytest.param(
            ["val/cat/1.png", "test/cat/1.png"], r": expected .*, got no train/ beside val/ and test/$", id="no train"
        ),
        pytest.param(["cat/1.png", "dog/1.png"], ": expected a class of three or more images", id="few"),
    ],
)
def test_a_wrong_folder_is_refused_by_name(
    pictures: list[str], message: str, tmp_path: Path, options: FolderOptions
) -> None:
    for seed, name in enumerate(pictures):
        write_picture((tmp_path / "pets" / name).with_suffix(".png"), seed)
        (tmp_path / "pets" / name).with_suffix(".png").rename(tmp_path / "pets" / name)
    with pytest.raises(DataError, match=f"^{tmp_path}/pets{message}"):
        load_image_folder(tmp_path / "pets", SPEC, **options)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").write_text("")
    with pytest.raises(DataError, match=r"pets: expected a folder \(.*\), got a file$"):
        load_image_folder(tmp_path / "pets", SPEC)
