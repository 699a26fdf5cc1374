"""export/post_training/calibration.py: which pictures calibrate, which give figures, and what their classes are."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.data.examples import DataError
from export.post_training.calibration import UNKNOWN, Labels, calibration_photos
from runtime.manifest import Input

SPEC = Input(channels=3, height=8, width=8, resize="center_crop")
LABELS = Labels(("cat", "dog", "bird"), ("n3", "n1", "n2"))


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (10, 12), (index, 7, 9)).save(folder / f"{index}.png")
    return folder


def test_half_of_few_pictures_calibrate_and_no_picture_does_both(tmp_path: Path) -> None:
    chosen, others = calibration_photos(pictures(tmp_path, 9), LABELS, SPEC, 48, 1000)
    assert (len(chosen), len(others)) == (4, 5)
    assert not set(chosen.files.names) & set(others.files.names)
    assert chosen.pixels().shape == (4, 3, 8, 8)
    again, _ = calibration_photos(tmp_path, LABELS, SPEC, 48, 1000)
    assert again.files.names == chosen.files.names


def test_numbers_of_pictures_are_limited(tmp_path: Path) -> None:
    chosen, others = calibration_photos(pictures(tmp_path, 9), LABELS, SPEC, 2, 3)
    assert (len(chosen), len(others)) == (2, 3)


def test_pixels_are_those_of_serving(tmp_path: Path) -> None:
    _, others = calibration_photos(pictures(tmp_path, 4), LABELS, SPEC, 2, 2)
    [(images, classes)] = others.batches()
    numbers = [int(Path(name).stem) for name in others.files.names]
    np.testing.assert_allclose(images[:, 0, 4, 4] * 255, numbers, atol=1e-4)
    assert classes.tolist() == [UNKNOWN, UNKNOWN] and not others.labelled


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ({"n1": 1, "n2": 2}, "ids"),
        ({"dog": 1, "bird": 2}, "names"),
        ({"a": UNKNOWN, "b": UNKNOWN, "c": UNKNOWN}, "the folder a has the name of no label"),
        ({"dog": UNKNOWN, "wolf": UNKNOWN}, "the folder wolf has the name of no label"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_class_folders_are_known_by(tmp_path: Path, folders: dict[str, int], expected: str) -> None:
    for name in folders:
        pictures(tmp_path / name, 4)
    _, others = calibration_photos(tmp_path, LABELS, SPEC, 4, 100)
    assert others.labelled == (expected in ("ids", "names")) and others.unknown == ("" if others.labelled else expected)
    found = dict(zip((name.split("/")[0] for name in others.files.names), others.classes.tolist(), strict=True))
    assert found.items() <= folders.items() and len(found) > 1


def test_class_folders_are_known_by_the_labels_of_their_wordnet_ids(tmp_path: Path) -> None:
    for name in ("n01443537", "n01440764"):
        pictures(tmp_path / name, 4)
    _, others = calibration_photos(tmp_path, Labels(("goldfish", "great auk", "tench")), SPEC, 4, 100)
    found = {name.split("/")[0]: index for name, index in zip(others.files.names, others.classes.tolist(), strict=True)}
    assert found == {"n01443537": 0, "n01440764": 2}


@pytest.mark.parametrize(
    ("folders", "labels", "why"),
    [
        ((), LABELS, "the pictures are not in class folders"),
        (("a", "b", "c"), Labels.numbered(3), "without --labels nobody knows which folder is which class"),
        (("dog", "."), LABELS, r"\d\.png is in no class folder"),
    ],
    ids=["a flat folder", "no labels", "beside them"],
)
def test_where_classes_are_not_known_it_is_said_why(
    tmp_path: Path, folders: tuple[str, ...], labels: Labels, why: str
) -> None:
    for name in folders or (".",):
        pictures(tmp_path / name, 4)
    _, others = calibration_photos(tmp_path, labels, SPEC, 2, 100)
    assert not others.labelled and re.fullmatch(why, others.unknown)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "dog", 8)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"cat: expected images of this class .*, got an empty folder"):
        calibration_photos(tmp_path, LABELS, SPEC, 4, 100)


def test_an_unreadable_picture_is_named_or_skipped_and_counted(tmp_path: Path) -> None:
    (pictures(tmp_path, 5) / "bad.png").write_bytes(b"no picture")
    parts = calibration_photos(tmp_path, LABELS, SPEC, 3, 3)
    with pytest.raises(DataError, match=r"bad\.png: cannot be read"):
        [list(part.batches()) for part in parts]
    parts = calibration_photos(tmp_path, LABELS, SPEC, 3, 3, skip_unreadable=True)
    batches = [batch for part in parts for batch in part.batches()]
    assert [len(images) == len(classes) for images, classes in batches] == [True, True]
    assert sum(len(images) for images, _ in batches) == 5
    assert [name for part in parts for name in part.unreadable] == ["bad.png"]


def test_where_no_picture_can_be_read_there_is_no_batch_and_an_error_says_so(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    chosen, others = calibration_photos(tmp_path, LABELS, SPEC, 2, 2, skip_unreadable=True)
    assert not list(others.batches()) and len(others.unreadable) == 2
    with pytest.raises(DataError, match=r"expected pictures to calibrate with, none of 2 can be read: \w\.png \("):
        chosen.pixels()


def test_a_batch_of_unreadable_pictures_alone_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.post_training.calibration.BATCH", 2)
    chosen, _ = calibration_photos(pictures(tmp_path, 12), LABELS, SPEC, 6, 6, skip_unreadable=True)
    for name in chosen.files.names[2:4]:
        (tmp_path / name).write_bytes(b"no picture")
    assert [len(images) for images, _ in chosen.batches()] == [2, 2]
    assert chosen.pixels().shape == (4, 3, 8, 8)


@pytest.mark.parametrize(("count", "message"), [(0, "expected images"), (3, "at least 4 pictures.*got 3")])
def test_too_few_pictures_are_refused(tmp_path: Path, count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        calibration_photos(pictures(tmp_path, count), LABELS, SPEC, 48, 1000)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photos: expected a folder of pictures, got nothing"):
        calibration_photos(tmp_path / "photos", LABELS, SPEC, 48, 1000)


def test_labels_come_from_a_file_with_or_without_ids(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("n3\tcat\nn1\tdog\nn2\tbird\n")
    assert Labels.read(path) == LABELS
    path.write_text("cat\ndog\n\nbird\n")
    assert Labels.read(path) == Labels(("cat", "dog", "bird"))
    path.write_text("cat\ndog\ncat\n")
    with pytest.raises(DataError, match=r"labels that differ, got 'cat' twice"):
        Labels.read(path)
    with pytest.raises(DataError, match=r"no\.txt: cannot be read: No such file"):
        Labels.read(tmp_path / "no.txt")


def test_imagenet_has_its_thousand() -> None:
    labels = Labels.imagenet()
    assert len(set(labels.names)) == len(set(labels.ids)) == 1000
    assert (labels.ids[0], labels.names[0]) == ("n01440764", "tench")
