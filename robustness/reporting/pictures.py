"""Pictures of a report's gallery: an image before and after, and the change magnified."""

import base64

import numpy as np

from robustness.reporting.report import ImageRow, Picture
from robustness.victim import Array
from runtime.images import encode_png

MOST_PICTURES = 12


def picture(row: ImageRow, labels: list[str], clean: Array, adversarial: Array) -> Picture:
    """Of an image that was broken, before and after, float32 [C, H, W] in [0, 1]."""
    assert row.verdict is not None and row.kept_size is not None and row.smallest_by is not None
    change = adversarial - clean
    magnified = (0.5 + 0.5 * change / (np.abs(change).max() or 1)).astype(np.float32)
    original, attacked, shown = (_png(pixels) for pixels in (clean, adversarial, magnified))
    return Picture(
        index=row.index,
        label=labels[row.label],
        verdict=labels[row.verdict] if row.verdict >= 0 else "none",
        attack=row.smallest_by,
        size=row.kept_size,
        original=original,
        adversarial=attacked,
        perturbation=shown,
    )


def _png(pixels: Array) -> str:
    return base64.b64encode(encode_png(pixels)).decode()
