"""A claim: adversarial images that somebody has found, in an npz file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Labels
from robustness.evaluation.arrays_file import read_arrays
from robustness.evaluation.image_sets import Indices
from robustness.norms import NORMS, NormName
from robustness.victim import Array
from runtime.errors import EmpirError
from runtime.manifest import Manifest


class BadClaim(EmpirError):
    """A file that is no claim: an array missing, of another shape, or that says what cannot be."""

    code = "bad_claim"


@dataclass(frozen=True)
class Claim:
    """K adversarial images, float32 [K, C, H, W], their true classes [K], and the test images they were made from.

    These are indices in the test set [K], or the images themselves [K, C, H, W]. norm and eps where the file has them.
    """

    images: Array
    labels: Labels
    indices: Indices | None
    originals: Array | None
    norm: NormName | None
    eps: float | None


def read_claim(path: Path, manifest: Manifest) -> Claim:
    """The claim in an npz file, as `empir evaluate` writes `adversarial.npz`; arrays that are not named are ignored.

    `images` float32 [K, C, H, W] in [0, 1], or uint8 levels; `labels` [K], the true classes; `indices` [K] in the test
    set, or `originals` like `images`; `norm` (`linf`, `l2`) and `eps` where it pleases. Raises BadClaim.
    """
    arrays = read_arrays(path, BadClaim)
    try:
        return _claim(arrays, manifest)
    except BadClaim as error:
        raise BadClaim(f"{path}: {error}") from error


def _claim(arrays: dict[str, NDArray[Any]], manifest: Manifest) -> Claim:
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing or ("indices" in arrays) == ("originals" in arrays):
        there = ", ".join(arrays) or "none"
        raise BadClaim(f"expected the arrays images, labels, and either indices or originals, got {there}")
    images = _pixels("images", arrays["images"], manifest)
    labels = _whole("labels", arrays["labels"], len(images), len(manifest.labels))
    norm, eps = arrays.get("norm"), arrays.get("eps")
    return Claim(
        images,
        labels,
        _whole("indices", arrays["indices"], len(images), None) if "indices" in arrays else None,
        _originals(arrays["originals"], images, manifest) if "originals" in arrays else None,
        None if norm is None else _norm(norm),
        None if eps is None else _eps(eps),
    )


def _pixels(name: str, array: NDArray[Any], manifest: Manifest) -> Array:
    spec = manifest.input
    shape = (spec.channels, spec.height, spec.width)
    if array.shape[1:] != shape or array.dtype not in (np.uint8, np.float32, np.float64) or len(array) == 0:
        raise BadClaim(
            f"{name}: expected float32, float64 or uint8 [K, {', '.join(map(str, shape))}], at least one, "
            f"got {array.dtype} {list(array.shape)}"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    finite = np.isfinite(array).all(axis=(1, 2, 3))
    if not finite.all():
        raise BadClaim(f"{name}[{int(finite.argmin())}]: expected finite numbers, got NaN or infinity")
    return array.astype(np.float32)


def _originals(array: NDArray[Any], images: Array, manifest: Manifest) -> Array:
    originals = _pixels("originals", array, manifest)
    if len(originals) != len(images):
        raise BadClaim(f"originals: expected {len(images)}, one for each of the images, got {len(originals)}")
    return originals


def _whole(name: str, array: NDArray[Any], count: int, end: int | None) -> Labels:
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise BadClaim(
            f"{name}: expected {count} whole numbers, one for each of the images, got {array.dtype} {list(array.shape)}"
        )
    refuse_outside(name, array, end)
    return array.astype(np.int64)


def refuse_outside(name: str, array: NDArray[Any], end: int | None) -> None:
    outside = (array < 0) | (False if end is None else array >= end)
    if outside.any():
        first = int(outside.argmax())
        allowed = "0 or more" if end is None else f"0 to {end - 1}"
        raise BadClaim(f"{name}[{first}]: expected {allowed}, got {array[first]}")


def _norm(array: NDArray[Any]) -> NormName:
    for name in NORMS:
        if array.shape == () and str(array) == name:
            return name
    raise BadClaim(f"norm: expected {' or '.join(NORMS)}, got {str(array)[:40]!r}")


def _eps(array: NDArray[Any]) -> float:
    if array.shape != () or array.dtype.kind not in "fiu" or not (np.isfinite(array) and array > 0):
        raise BadClaim(f"eps: expected one number above 0, got {str(array)[:40]}")
    return float(array)
