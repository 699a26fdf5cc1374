"""The smallest adversarial images found so far, for attacks that minimise a norm."""

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found
from robustness.norms import NORMS, NormName
from robustness.victim import Array


class Smallest:
    """For each of N images the nearest adversarial one offered. What lies beyond `eps` is kept, but not found."""

    def __init__(self, images: Array, norm: NormName, eps: float | None) -> None:
        self.image = images.copy()
        self.size = np.full(len(images), np.inf)
        self._clean, self._norm, self._eps = images, NORMS[norm], eps
        self._step = np.zeros(len(images), dtype=int)

    @property
    def open(self) -> NDArray[np.bool_]:
        """Whether to go on with an image [N]: until it lies within eps, or, without one, until nothing is smaller."""
        unfinished: NDArray[np.bool_] = self.size > (self._eps or 0)
        return unfinished

    def offer(self, rows: NDArray[np.intp], images: Array, step: int) -> None:
        """Adversarial `images` [B, C, H, W] for the images `rows` [B], each at most once."""
        size = self._norm.size(images - self._clean[rows])
        better = size < self.size[rows]
        chosen = rows[better]
        self.image[chosen], self.size[chosen], self._step[chosen] = images[better], size[better], step

    def found(self) -> dict[int, Found]:
        within = self.size < np.inf if self._eps is None else self.size <= self._eps
        return {row: Found(row, self.image[row], int(self._step[row])) for row in np.flatnonzero(within).tolist()}
