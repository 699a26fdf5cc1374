"""Labelled images from files and folders: drawn by the seed, and refused with what was expected."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustness.evaluation.image_sets import ArraySet, BadImages, draw, open_images
from runtime.errors import InvalidValue
from runtime.images import encode_png
from tests.linear_victim import LINEAR_MANIFEST

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
        ({"images": IMAGES}, "expected an npz file with images and labels"),
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
