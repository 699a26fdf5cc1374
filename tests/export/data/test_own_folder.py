"""export/data/own_folder.py: what is held out, what is refused before any training, and finding the images again."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.data.examples import DataError
from export.data.own_folder import OwnImages, images_of
from runtime.manifest import Manifest
from tests.linear_victim import LINEAR_MANIFEST
from tests.pictures import SPEC, write_classes, write_picture


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twenty cats and ten dogs."""
    write_classes(tmp_path / "pets", {"cat": 20, "dog": 10})
    return tmp_path / "pets"


def test_a_fifth_is_the_test_and_an_eighth_of_the_rest_validation(pets: Path) -> None:
    images = OwnImages.survey(pets)
    files = images.files
    assert images.labels == ("cat", "dog")
    assert images.counts(files.test) == [4, 2]
    assert images.counts(files.validation) == [2, 1]
    assert images.counts(files.train) == [14, 7]
    names = [*files.train.names, *files.validation.names, *files.test.names]
    assert len(set(names)) == len(names) == 30
    assert OwnImages.survey(pets).files.test.names == files.test.names


def test_folders_of_splits_are_kept(pets: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "split" / "val", {"cat": 3, "dog": 3})
    shutil.copytree(pets, tmp_path / "split" / "train")
    images = OwnImages.survey(tmp_path / "split")
    assert images.counts(images.files.test) == [3, 3]
    assert all(name.startswith("val/") for name in images.files.test.names)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        pytest.param({"cat": 20, "dog": 3}, "at least 10 images of each class, got 3 of dog; add", id="three pictures"),
        pytest.param(
            {"cat": 3, "dog": 2}, "at least 10 images of each class, got 3 of cat, 2 of dog;", id="only small"
        ),
        pytest.param({"cat": 9, "dog": 12, "eel": 1}, "got 9 of cat, 1 of eel;", id="two small classes"),
        pytest.param({"cat": 20}, "two or more classes, got only cat", id="one class"),
        pytest.param({}, "two or more classes, got none", id="no class folders"),
        pytest.param({"cat": 20, "dog": 0}, "dog: expected images of this class .*, got an empty folder", id="empty"),
    ],
)
def test_a_folder_that_cannot_be_learned_from_is_named(counts: dict[str, int], message: str, tmp_path: Path) -> None:
    for name in counts:
        (tmp_path / "pets" / name).mkdir(parents=True)
    (tmp_path / "pets").mkdir(exist_ok=True)
    write_classes(tmp_path / "pets", counts)
    with pytest.raises(DataError, match=message) as raised:
        OwnImages.survey(tmp_path / "pets")
    assert str(tmp_path / "pets") in str(raised.value)


def test_the_same_picture_in_two_classes_is_found_and_within_one_it_is_not_of_interest(pets: Path) -> None:
    assert OwnImages.survey(pets).in_two_classes() == []
    shutil.copy(pets / "cat" / "000.png", pets / "cat" / "again.png")
    shutil.copy(pets / "cat" / "003.png", pets / "dog" / "x.png")
    shutil.copy(pets / "cat" / "003.png", pets / "dog" / "y.png")
    assert OwnImages.survey(pets).in_two_classes() == ["cat/003.png = dog/x.png = dog/y.png"]


@pytest.mark.parametrize(
    ("width", "mode", "wanted", "expected"),
    [
        pytest.param(28, "L", None, (1, 32), id="small grey"),
        pytest.param(48, "RGB", None, (3, 32), id="small"),
        pytest.param(49, "RGB", None, (3, 64), id="photos"),
        pytest.param(300, "RGB", 24, (3, 24), id="chosen"),
    ],
)
def test_the_input_fits_the_pictures(
    width: int, mode: str, wanted: int | None, expected: tuple[int, int], tmp_path: Path
) -> None:
    for index in range(20):
        write_picture(tmp_path / "pets" / "ab"[index % 2] / f"{index}.png", index, width, width + 7, mode)
    spec = OwnImages.survey(tmp_path / "pets").input(wanted)
    assert (spec.channels, spec.height, spec.width) == (expected[0], expected[1], expected[1])


def test_one_picture_in_colour_makes_all_of_them_so(tmp_path: Path) -> None:
    for index in range(20):
        mode = "RGB" if index == 3 else "L"
        write_picture(tmp_path / "pets" / "ab"[index % 2] / f"{index}.png", index, mode=mode)
    images = OwnImages.survey(tmp_path / "pets")
    in_training = any(name.endswith("/3.png") for name in images.files.train.names)
    assert images.input(None).channels == (3 if in_training else 1)


def test_unreadable_images_are_named_unless_they_are_to_be_skipped(pets: Path) -> None:
    spoilt = [f"cat/{number:03}.png" for number in range(5)]
    for name in spoilt:
        (pets / name).write_bytes(b"nothing")
    images = OwnImages.survey(pets)
    with pytest.raises(DataError, match=r"5 images cannot be read: .* and 2 more; .* --skip-unreadable") as raised:
        images.load(SPEC, skip_unreadable=False)
    assert sum(name in str(raised.value) for name in spoilt) == 3

    data = images.load(SPEC, skip_unreadable=True)
    assert sorted(data.unreadable) == spoilt and data.skipped == 5
    assert len(data.train) + len(data.validation) + len(data.test) == 25


def test_too_few_are_too_few_also_once_the_unreadable_ones_are_left_out(pets: Path) -> None:
    (pets / "dog" / "003.png").write_bytes(b"nothing")
    images = OwnImages.survey(pets)
    with pytest.raises(DataError, match=r"pets: expected at least 10 readable images of each class, got 9 of dog; add"):
        images.load(SPEC, skip_unreadable=True)


def manifest_of(data_md5: dict[str, str], skipped: int = 0) -> Manifest:
    source = {"recipe": "own-images-small", "data_set": "pets", "data_md5": data_md5, "skipped_images": skipped}
    provenance = LINEAR_MANIFEST.provenance.model_copy(update=source)
    return LINEAR_MANIFEST.model_copy(update={"provenance": provenance, "labels": ("cat", "dog"), "input": SPEC})


def test_the_images_of_a_bundle_are_found_again_and_others_refused(pets: Path) -> None:
    data = OwnImages.survey(pets).load(SPEC, skip_unreadable=False)
    again = images_of(manifest_of(data.md5), pets)
    np.testing.assert_array_equal(again.test.pixels(), data.test.pixels())

    with pytest.raises(DataError, match="trained on a folder of images, pets; expected that folder, --data-dir DIR"):
        images_of(manifest_of(data.md5), None)
    Image.new("RGB", (12, 10)).save(pets / "cat" / "another.png")
    with pytest.raises(DataError, match=f"^{pets}: expected the images that .* was made of"):
        images_of(manifest_of(data.md5), pets)
