"""8-bit grids for activations: the scale and zero point with the smallest error."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 255
SAMPLES = 200_000
RATIOS = tuple(1 - 0.05 * step for step in range(13))
"""The clipping points that are tried, as shares of the range that was seen."""


@dataclass(frozen=True)
class Grid:
    """Levels 0 to 255 for the values scale x (level - zero_point)."""

    scale: float
    zero_point: int

    def quantize(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Each value's nearest level, half to even, as QuantizeLinear does."""
        levels = np.rint(values / np.float32(self.scale))
        quantized: NDArray[np.uint8] = np.clip(levels + self.zero_point, 0, TOP).astype(np.uint8)
        return quantized

    def dequantize(self, levels: NDArray[Any]) -> NDArray[np.float32]:
        """The values of levels."""
        return (levels.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def best_grid(values: NDArray[Any]) -> Grid:
    """The grid with the smallest mean squared error, on a fixed sample, of those that clip the range of `values`.

    The range is made to include 0, which is always a level: padding must be exact.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if high == low:
        return Grid(1.0, 0)
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLES)]
    grids = [_spanning(low * ratio, high * ratio) for ratio in RATIOS]
    with np.errstate(over="ignore"):  # an infinite error is the largest
        errors = [np.square(grid.dequantize(grid.quantize(sample)) - sample).mean() for grid in grids]
    return grids[int(np.argmin(errors))]


def _spanning(low: float, high: float) -> Grid:
    scale = float(np.float32((high - low) / TOP))
    return Grid(scale, round(-low / scale))
