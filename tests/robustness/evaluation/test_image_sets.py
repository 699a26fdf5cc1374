"""Labelled images from files and folders: drawn by the seed, and refused with what was expected."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustness.evaluation.image_sets import ArraySet, BadImages, UnreadableImage, draw, open_images, pixels_sha256
from runtime.errors import InvalidValue
from runtime.images import encode_png
from tests.linear_victim import LINEAR_MANIFEST
from tests.robustness.evaluations import plan

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_the_draw_is_a_permutation_by_the_seed() -> None:
    source = ArraySet("six", {}, LABELS, IMAGES)
    drawn = draw(source, 4, seed=3)
    assert drawn.indices.tolist() == np.random.default_rng(3).permutation(6)[:4].tolist()
    assert drawn.images.dtype == np.float32 and drawn.total == 6
    np.testing.assert_array_equal(drawn.images, IMAGES[drawn.indices] / np.float32(255))
    np.testing.assert_array_equal(drawn.labels, LABELS[drawn.indices])
    assert draw(source, 2, seed=3).indices.tolist() == drawn.indices[:2].tolist()
    with pytest.raises(InvalidValue, match="n: expected 1 to 6, the images of the test set six, got 7"):
        draw(source, 7, seed=0)


@pytest.mark.parametrize("scale", [np.uint8(1), np.float32(1 / 255)], ids=["levels", "floats"])
def test_a_file_of_images(tmp_path: Path, scale: Any) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES * scale, labels=LABELS)
    source = open_images(tmp_path / "x.npz", LINEAR_MANIFEST)
    np.testing.assert_allclose(source.pixels(np.array([5, 0])), IMAGES[[5, 0]] / 255, rtol=1e-6)
    assert source.classes.tolist() == LABELS.tolist() and len(source.sums["x.npz"]) == 64


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": IMAGES}, "expected the arrays images and labels, got images"),
        ({"images": IMAGES[:, :, :7], "labels": LABELS}, r"expected uint8 or float32 \[N, 1, 8, 8\], got uint8"),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, r"expected float32 in \[0, 1\]"),
        ({"images": IMAGES, "labels": LABELS[:5]}, "labels: expected a class index from 0 to 2"),
        ({"images": IMAGES, "labels": LABELS + 1}, "labels: expected a class index from 0 to 2"),
    ],
    ids=["no labels", "shape", "range", "count", "classes"],
)
def test_a_file_that_is_not_for_this_bundle(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(BadImages, match=says):
        open_images(tmp_path / "x.npz", LINEAR_MANIFEST)


@pytest.mark.parametrize("left", [0, 200], ids=["empty", "cut short"])
def test_a_damaged_file_is_refused(tmp_path: Path, left: int) -> None:
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=LABELS)
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:left])
    with pytest.raises(BadImages, match=r"x\.npz: expected NumPy's npz without pickled objects, got "):
        open_images(tmp_path / "x.npz", LINEAR_MANIFEST)


def test_a_folder_of_pictures_by_label_or_index(tmp_path: Path) -> None:
    for folder, image in (("cat", 0), ("2", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(encode_png(IMAGES[image] / np.float32(255)))
    source = open_images(tmp_path, LINEAR_MANIFEST)
    assert source.classes.tolist() == [2, 0]  # folders in order of their names
    np.testing.assert_allclose(source.pixels(np.array([1])), IMAGES[:1] / 255, atol=1e-6)


def test_a_folder_that_is_not_for_this_bundle(tmp_path: Path) -> None:
    with pytest.raises(BadImages, match="expected a folder for each class"):
        open_images(tmp_path, LINEAR_MANIFEST)
    (tmp_path / "cat").mkdir()
    with pytest.raises(BadImages, match=r"cat: expected pictures of this class in it, got none"):
        open_images(tmp_path, LINEAR_MANIFEST)
    (tmp_path / "cat" / "a.png").write_bytes(b"hello")
    with pytest.raises(BadImages, match=r"cat/a\.png: cannot be read as an image"):
        open_images(tmp_path, LINEAR_MANIFEST).pixels(np.array([0]))
    (tmp_path / "cow").mkdir()
    with pytest.raises(BadImages, match="cow: expected the name of a label, or its index, such as 'cat'"):
        open_images(tmp_path, LINEAR_MANIFEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures of two classes, two of which cannot be read: one is text, one a folder."""
    for place, image in enumerate(IMAGES):
        path = tmp_path / "pets" / ("cat" if place < 3 else "dog") / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(image / np.float32(255)))
    (tmp_path / "pets" / "cat" / "1.png").write_bytes(b"hello")
    (tmp_path / "pets" / "dog" / "4.png").unlink()
    (tmp_path / "pets" / "dog" / "4.png").mkdir()
    return tmp_path / "pets"


def test_an_unreadable_picture_is_named_with_what_to_do(folder: Path) -> None:
    source = open_images(folder, LINEAR_MANIFEST)
    with pytest.raises(UnreadableImage, match=r"(cat/1|dog/4)\.png: cannot be read as an image: .*--skip-unreadable"):
        draw(source, 6, seed=0)


@pytest.mark.parametrize("seed", range(4))
def test_unreadable_pictures_can_be_left_out_and_are_counted(folder: Path, seed: int) -> None:
    """The others keep their places in the permutation and their indices in the folder."""
    source = open_images(folder, LINEAR_MANIFEST)
    order = [index for index in np.random.default_rng(seed).permutation(6).tolist() if index not in (1, 4)]
    drawn = draw(source, 4, seed, skip_unreadable=True)
    assert drawn.indices.tolist() == order and drawn.total == 6
    assert drawn.labels.tolist() == [index // 3 for index in order]
    np.testing.assert_allclose(drawn.images, IMAGES[order] / 255, atol=1e-6)
    assert set(drawn.unreadable) <= {"cat/1.png", "dog/4.png"}
    assert all(str(folder) not in reason and reason for reason in drawn.unreadable.values())
    with pytest.raises(InvalidValue, match="n: expected 1 to 4, the readable images of pets, got 5"):
        draw(source, 5, seed, skip_unreadable=True)


def test_pictures_after_the_last_one_drawn_are_not_even_read(folder: Path) -> None:
    source = open_images(folder, LINEAR_MANIFEST)
    drawn = draw(source, 1, seed=0, skip_unreadable=True)
    before = np.random.default_rng(0).permutation(6).tolist().index(drawn.indices[0])
    assert len(drawn.unreadable) == before


def test_where_all_can_be_read_the_draw_is_the_same() -> None:
    source = ArraySet("six", {}, LABELS, IMAGES)
    strict, lenient = draw(source, 4, 3), draw(source, 4, 3, skip_unreadable=True)
    np.testing.assert_array_equal(strict.indices, lenient.indices)
    np.testing.assert_array_equal(strict.images, lenient.images)
    assert lenient.unreadable == {}


def test_pictures_of_the_same_names_and_sizes_are_told_apart(tmp_path: Path) -> None:
    """A folder's sums are of names and sizes: these two differ in a pixel alone."""
    drawn = []
    for level in (10, 11):
        image = np.full((1, 8, 8), level, np.float32)
        (tmp_path / "cat").mkdir(exist_ok=True)
        (tmp_path / "cat" / "a.png").write_bytes(encode_png(image / np.float32(255)))
        drawn.append(draw(open_images(tmp_path, LINEAR_MANIFEST), 1, seed=0))
    one, other = drawn
    assert one.sums == other.sums and one.pixels_sha256 != other.pixels_sha256
    assert plan(one).fingerprint() != plan(other).fingerprint()


def test_the_sum_of_pixels_is_that_of_float32_in_the_order_of_the_draw() -> None:
    drawn = draw(ArraySet("six", {}, LABELS, IMAGES), 4, seed=3)
    expected = hashlib.sha256((IMAGES[drawn.indices] / np.float32(255)).astype("<f4").tobytes()).hexdigest()
    assert drawn.pixels_sha256 == expected == pixels_sha256([drawn.images[:1], drawn.images[1:]])
