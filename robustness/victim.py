"""The victim of an attack: the served ensemble, its gradients, and a count of what was asked of both."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.ensemble import Ensemble, usable_cores
from runtime.gradients import Differentiable, load_gradients
from runtime.prediction import Prediction

Array = NDArray[np.float32]
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
        self._cores = usable_cores()
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="gradient")

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "Victim":
        """Raises BundleError if the bundle was read without gradients, or a member has none."""
        ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=PATIENCE_MS)
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
        asked = np.argwhere(np.any(cotangents, axis=2))  # pairs of member and image, by member
        self.spent.gradient_calls += len(asked)
        # Equal shares for the cores, each of few calls of many images; this thread takes the first itself.
        first, *others = np.array_split(asked, self._cores)
        runs = [self._pool.submit(self._share, share, images, cotangents) for share in others if len(share)]
        total = self._share(first, images, cotangents)
        for run in runs:
            total += run.result()
        return total

    def _share(self, pairs: NDArray[np.intp], images: Array, cotangents: Array) -> Array:
        total = np.zeros_like(images)
        for member in np.unique(pairs[:, 0]):
            rows = pairs[pairs[:, 0] == member, 1]
            total[rows] += self._gradients[member].gradient(images[rows], cotangents[member, rows])[1]
        return total

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.ensemble.close()
