"""The victim of an attack: the served ensemble, its gradients, and a count of what was asked of both."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.ensemble import Ensemble, Prediction
from runtime.gradients import Differentiable, load_gradients

Array = NDArray[np.float32]


@dataclass
class Spent:
    """What an attack has cost: images shown to the served ensemble, and image gradients of single members."""

    queries: int = 0
    gradient_calls: int = 0


class Victim:
    """A served ensemble and its gradient graphs. Not safe for several threads at once: it counts."""

    def __init__(self, ensemble: Ensemble, gradients: Sequence[Differentiable]) -> None:
        self.ensemble = ensemble
        self.temperatures = np.array([member.temperature for member in ensemble.members], dtype=np.float64)
        self.spent = Spent()
        self._gradients = list(gradients)
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gradient")

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "Victim":
        """Raises BundleError if the bundle was read without gradients, or a member has none."""
        ensemble = Ensemble.of_bundle(bundle)
        spec = bundle.manifest.input
        ensemble.warm_up(np.zeros((1, spec.channels, spec.height, spec.width), np.float32))
        return cls(ensemble, load_gradients(bundle))

    @property
    def n_members(self) -> int:
        return len(self._gradients)

    def predict(self, images: Array) -> Prediction:
        """What the served member graphs and their vote say, all members asked."""
        self.spent.queries += len(images)
        return self.ensemble.predict(images, "full")

    def gradient(self, images: Array, cotangents: Array) -> Array:
        """d(sum over members of logits . cotangents)/d(images) [B, C, H, W]; zero cotangents cost nothing."""
        total = np.zeros_like(images)
        asked: NDArray[np.bool_] = np.any(cotangents, axis=2, keepdims=True)[:, :, 0]
        self.spent.gradient_calls += int(asked.sum())
        runs = [
            (rows, self._pool.submit(self._part, index, images, cotangents, rows)) for index, rows in enumerate(asked)
        ]
        for rows, run in runs:
            total[rows] += run.result()
        return total

    def _part(self, index: int, images: Array, cotangents: Array, rows: NDArray[np.bool_]) -> Array:
        if not rows.any():
            return images[rows]
        return self._gradients[index].gradient(images[rows], cotangents[index, rows])[1]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.ensemble.close()
