"""The victim of an attack: the served ensemble, its gradients, and a count of what was asked of both."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.ensemble import Ensemble
from runtime.gradients import Differentiable, load_gradients
from runtime.prediction import Prediction

Array = NDArray[np.float32]

PART = 6
"""Images in one call of a gradient graph."""
PATIENCE_MS = 3_600_000
"""A slow machine is no successful attack: a member under attack is waited for; the attack has a budget of its own."""


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
        ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=PATIENCE_MS)
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
        runs = []
        for index, mask in enumerate(asked):
            rows = np.flatnonzero(mask)
            # Small parts keep all cores busy to the end; each costs one more call, a fraction of an image's gradient.
            for part in (rows[i : i + PART] for i in range(0, len(rows), PART)):
                graph = self._gradients[index]
                runs.append((part, self._pool.submit(graph.gradient, images[part], cotangents[index, part])))
        for part, run in runs:
            total[part] += run.result()[1]
        return total

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.ensemble.close()
