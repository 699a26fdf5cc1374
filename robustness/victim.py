"""The victim of an attack: the served ensemble, its gradients, and a count of what was asked of both."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.ensemble import Ensemble, usable_cores
from runtime.errors import InvalidValue
from runtime.gradients import Differentiable, GradientGraph
from runtime.manifest import Vote
from runtime.prediction import Prediction

Array = NDArray[np.float32]
GRADIENT_BATCH = 8
"""What a few images leave behind on the way forward is still in the cache on the way back: 8 take two thirds to three
quarters of the time for each image that 256 take."""
PATIENCE_MS = 3_600_000
"""A slow machine is no successful attack: a member under attack is waited for; the attack has a budget of its own."""


@dataclass
class Spent:
    """What an attack has cost: images shown to the served ensemble, and image gradients of single members."""

    queries: int = 0
    gradient_calls: int = 0
    not_finite: int = 0
    """Of these gradients, those with a value that is not finite."""

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


class Victim:
    """A served ensemble and its gradient graphs. Not safe for several threads at once: it counts."""

    def __init__(
        self, ensemble: Ensemble, gradients: Sequence[Differentiable | None], cores: int | None = None
    ) -> None:
        """`gradients`: of each member, None where it has no gradient graph and can be attacked by queries only.

        `cores` bounds how many threads work at once; None takes those this process may use.
        """
        self.ensemble = ensemble
        self.temperatures = np.array([member.temperature for member in ensemble.members], dtype=np.float64)
        self.spent = Spent()
        self._gradients = list(gradients)
        self._cores = cores or usable_cores()
        self._pool = ThreadPoolExecutor(self._cores, thread_name_prefix="gradient")

    @classmethod
    def of_bundle(cls, bundle: Bundle, *, cores: int | None = None) -> "Victim":
        """Raises BundleError if the bundle was read without its gradient graphs."""
        gradients = [
            None if member.gradient_file is None else GradientGraph(bundle, member)
            for member in bundle.manifest.members
        ]
        ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=PATIENCE_MS, cores=cores)
        return cls(ensemble, gradients, cores)

    def alone(self, member: int) -> "Victim":
        """One member as a victim of its own, whose argmax is the verdict; the sessions are the same."""
        network = self.ensemble.members[member]
        vote = Vote(rule="majority", tie_breaker=network.name)
        ensemble = Ensemble([network], vote, self.ensemble.n_classes, member_deadline_ms=PATIENCE_MS, cores=self._cores)
        return Victim(ensemble, [self._gradients[member]], self._cores)

    @property
    def n_members(self) -> int:
        return len(self.ensemble.members)

    @property
    def differentiable(self) -> list[bool]:
        """Of each member, whether it has a gradient graph."""
        return [gradient is not None for gradient in self._gradients]

    def predict(self, images: Array) -> Prediction:
        """What the served member graphs and their vote say, all members asked."""
        self.spent.queries += len(images)
        return self.ensemble.predict(images, "full")

    def calibrated(self, prediction: Prediction) -> NDArray[np.float64]:
        """The members' logits [M, B, K] over their temperatures: comparable with one another."""
        return np.asarray(prediction.logits / self.temperatures[:, None, None], dtype=np.float64)

    def gradient(self, images: Array, cotangents: Array) -> Array:
        """d(sum over members of logits . cotangents)/d(images) [B, C, H, W]; zero cotangents cost nothing.

        A member's gradient that is not finite counts as 0: one infinity, or NaN, would hide what the others say.
        Raises InvalidValue if a member has cotangents but no gradient graph.
        """
        asked = np.argwhere(np.any(cotangents, axis=2))  # pairs of member and image, by member
        self._refuse_without_gradient(np.unique(asked[:, 0]).tolist())
        self.spent.gradient_calls += len(asked)
        # Equal shares for the cores, each of few calls of many images; this thread takes the first itself.
        first, *others = np.array_split(asked, self._cores)
        runs = [self._pool.submit(self._share, share, images, cotangents) for share in others if len(share)]
        total, not_finite = self._share(first, images, cotangents)
        for run in runs:
            part, lost = run.result()
            total += part
            not_finite += lost
        self.spent.not_finite += not_finite
        return total

    def _share(self, pairs: NDArray[np.intp], images: Array, cotangents: Array) -> tuple[Array, int]:
        total, not_finite = np.zeros_like(images), 0
        for member in np.unique(pairs[:, 0]):
            graph, rows = self._gradients[member], pairs[pairs[:, 0] == member, 1]
            if graph is None:  # refused before
                continue
            for start in range(0, len(rows), GRADIENT_BATCH):
                part = rows[start : start + GRADIENT_BATCH]
                gradient = graph.gradient(images[part], cotangents[member, part])[1]
                lost = ~np.isfinite(gradient).all(axis=(1, 2, 3))
                not_finite += int(lost.sum())
                gradient[lost] = 0
                total[part] += gradient
        return total, not_finite

    def require_gradients(self) -> None:
        """Raises InvalidValue, naming the first, if a member has no gradient graph."""
        self._refuse_without_gradient(range(self.n_members))

    @property
    def blind(self) -> list[str]:
        """The members that have no gradient graph, by name."""
        return [m.name for m, graph in zip(self.ensemble.members, self._gradients, strict=True) if graph is None]

    def _refuse_without_gradient(self, members: Iterable[int]) -> None:
        for member in members:
            if self._gradients[member] is None:
                name = self.ensemble.members[member].name
                raise InvalidValue(f"member {name} has no gradient graph: expected an attack that only asks queries")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.ensemble.close()
