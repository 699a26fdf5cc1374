"""A claim's file: what is one, and every way of being none."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.format import write_array_header_1_0

from robustness.claims.claim import BadClaim, read_claim
from tests.linear_victim import LINEAR_MANIFEST

IMAGES = np.full((2, 1, 8, 8), 0.5, np.float32)
GOOD: dict[str, Any] = {"images": IMAGES, "labels": np.array([0, 2]), "indices": np.array([5, 0])}


def written(folder: Path, **arrays: Any) -> Path:
    path = folder / "claim.npz"
    np.savez(path, **arrays)
    return path


def nan_at(image: int) -> np.ndarray[Any, Any]:
    images = IMAGES.copy()
    images[image, 0, 3, 3] = np.nan
    return images


def test_a_claim_is_read(tmp_path: Path) -> None:
    claim = read_claim(written(tmp_path, **GOOD, attacks=np.array(["x", "y"])), LINEAR_MANIFEST)
    np.testing.assert_array_equal(claim.images, IMAGES)
    assert claim.indices is not None
    assert (claim.labels.tolist(), claim.indices.tolist()) == ([0, 2], [5, 0])
    assert (claim.originals, claim.norm, claim.eps) == (None, None, None)


def test_originals_instead_of_indices_levels_instead_of_floats_and_a_ball_of_its_own(tmp_path: Path) -> None:
    levels = np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8)
    arrays = {"images": levels, "labels": [0, 1], "originals": IMAGES.astype(np.float64), "norm": "l2", "eps": 2}
    claim = read_claim(written(tmp_path, **arrays), LINEAR_MANIFEST)
    assert claim.images.dtype == np.float32 and claim.images.max() == np.float32(127 / 255)
    assert claim.originals is not None and claim.originals.dtype == np.float32
    assert (claim.indices, claim.norm, claim.eps) == (None, "l2", 2.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "expected the arrays images, labels, and either indices or originals, got labels, indices"),
        ({"labels": None}, "got images, indices"),
        ({"indices": None}, "got images, labels"),
        ({"originals": IMAGES}, "either indices or originals, got images, labels, indices, originals"),
        (
            {"images": IMAGES[:, :, :7]},
            "images: expected float32, float64 or uint8 [K, 1, 8, 8], at least one, got float32 [2, 1, 7",
        ),
        ({"images": IMAGES[:0]}, "at least one, got float32 [0"),
        ({"images": IMAGES.astype(np.int64)}, "got int64 [2, 1, 8, 8]"),
        ({"images": np.float32(0.5)}, "got float32 []"),
        ({"images": nan_at(1)}, "images[1]: expected finite numbers, got NaN or infinity"),
        ({"images": IMAGES * np.inf}, "images[0]: expected finite numbers"),
        ({"labels": np.array([0])}, "labels: expected 2 whole numbers, one for each of the images, got int64 [1]"),
        (
            {"labels": np.array([0.0, 1.0])},
            "labels: expected 2 whole numbers, one for each of the images, got float64 [2]",
        ),
        ({"labels": np.array([0, 3])}, "labels[1]: expected 0 to 2, got 3"),
        ({"labels": np.array([-1, 0])}, "labels[0]: expected 0 to 2, got -1"),
        ({"indices": np.array([-1, 0])}, "indices[0]: expected 0 or more, got -1"),
        (
            {"indices": np.array([True, False])},
            "indices: expected 2 whole numbers, one for each of the images, got bool",
        ),
        ({"indices": None, "originals": IMAGES[:1]}, "originals: expected 2, one for each of the images, got 1"),
        ({"indices": None, "originals": nan_at(0)}, "originals[0]: expected finite numbers"),
        ({"norm": "l1"}, "norm: expected linf or l2, got 'l1'"),
        ({"norm": ["linf", "linf"]}, "norm: expected linf or l2"),
        ({"eps": 0.0}, "eps: expected one number above 0, got 0.0"),
        ({"eps": np.nan}, "eps: expected one number above 0, got nan"),
        ({"eps": "wide"}, "eps: expected one number above 0, got wide"),
        ({"eps": [0.1, 0.2]}, "eps: expected one number above 0, got [0.1 0.2]"),
        ({"labels": np.array([{}, {}])}, "Object arrays cannot be loaded when allow_pickle=False"),
        ({"extra": np.array([{}, {}])}, "Object arrays cannot be loaded when allow_pickle=False"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_claim_is_refused_by_name(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    arrays = {name: array for name, array in {**GOOD, **change}.items() if array is not None}
    path = written(tmp_path, **arrays)
    with pytest.raises(BadClaim, match=re.escape(says)) as refused:
        read_claim(path, LINEAR_MANIFEST)
    assert str(refused.value).startswith(f"{path}: ")


def single(path: Path) -> None:
    np.save(path, IMAGES)
    path.with_name(f"{path.name}.npy").rename(path)


def endless(path: Path) -> None:
    """An array that says that it has more numbers than any memory holds."""
    header = io.BytesIO()
    write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue())


def spoilt_inside(path: Path) -> None:
    np.savez_compressed(path, images=np.random.default_rng(0).random((2, 1, 8, 8)))
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    np.savez(path, **GOOD)
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x80\x04N."),
        single,
        cut_short,
        spoilt_inside,
        endless,
    ],
    ids=["empty", "a pickle", "a single array", "cut short", "spoilt inside", "endless"],
)
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / "claim.npz"
    spoil(path)
    with pytest.raises(BadClaim, match=re.escape(f"{path}: expected NumPy's npz without pickled objects, got ")):
        read_claim(path, LINEAR_MANIFEST)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "claim.npz", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(BadClaim, match=re.escape(f"{path}: cannot be read: {reason}")):
            read_claim(path, LINEAR_MANIFEST)
