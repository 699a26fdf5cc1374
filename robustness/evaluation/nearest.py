"""How near adversarial images lie of those that have fallen: smaller and smaller eps, each with its own attack."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.losses.goals import ANY_OTHER, Goals, as_asked
from robustness.losses.loss_names import make_loss
from robustness.norms import NORMS, NormName
from robustness.victim import Array, Victim
from runtime.vote import NO_VOTE

FIRST_STEP, LAST_STEP = 0.5, 0.05
"""Step sizes over eps: they fall in equal ratios from the one to the other."""


@dataclass(frozen=True)
class Nearest:
    """Bisection over eps for every image at once: `rounds` times halfway between the largest eps at which it withstood
    this attack and the smallest at which it is known to fall, `steps` of PGD on the vote's loss.

    A round starts from the smallest adversarial image known, drawn into the ball, and climbs in turn towards the class
    that it has and to any other; every iterate is judged by the served vote. An upper bound, as of any attack.
    """

    norm: NormName
    rounds: int = 6
    steps: int = 10
    loss: str = "joint_margin"
    known: Array | None = field(default=None, compare=False, repr=False)
    """An adversarial image for each of those given; without them nothing is searched."""

    threat_model: ClassVar[ThreatModel] = "white-box"
    name: ClassVar[str] = "nearest"

    def parameters(self) -> dict[str, Any]:
        return {
            "norm": self.norm,
            "loss": self.loss,
            "rounds": self.rounds,
            "steps": self.steps,
            "step_size": [FIRST_STEP, LAST_STEP],
            "step_size_in": "eps",
            "start": "smallest adversarial image known",
        }

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """Of the images [N, C, H, W] those for which something nearer than `known` was found. Nothing is random."""
        if self.known is None or not len(images):
            return {}
        norm, known = NORMS[self.norm], self.known
        nearest, found = known.copy(), np.zeros(len(images), dtype=np.int64)
        verdict = victim.predict(known).verdict
        low, high = np.zeros(len(images)), norm.size(known - images)
        for number in range(self.rounds):
            if out_of_time():
                break
            middle = (low + high) / 2
            aimed = (verdict != NO_VOTE) & (number % 2 == 0)
            targets = np.where(aimed, verdict, ANY_OTHER)
            fell, adversarial = self._attack(victim, images, nearest, as_asked(labels, targets), middle)
            nearest[fell], found[fell] = adversarial[fell], number + 1
            low = np.where(fell, low, middle)
            high = np.where(fell, norm.size(nearest - images), high)
        return {int(row): Found(int(row), nearest[row], int(found[row])) for row in np.flatnonzero(found)}

    def _attack(
        self,
        victim: Victim,
        clean: Array,
        start: Array,
        goals: Goals,
        eps: NDArray[np.float64],
    ) -> tuple[NDArray[np.bool_], Array]:
        """Each image in a ball of its own `eps` [N]: whether it fell [N], and to which image [N, C, H, W]."""
        norm, loss = NORMS[self.norm], make_loss(self.loss, victim).loss
        fell, rows = np.zeros(len(clean), dtype=bool), np.arange(len(clean))
        radius = eps.astype(np.float32).reshape(-1, 1, 1, 1)

        def inside(images: Array, rows: NDArray[np.intp]) -> Array:
            ball: Array = (clean[rows] + norm.project(images - clean[rows], radius[rows])).clip(0, 1)
            return ball

        iterate = inside(start, rows)
        for size in [*np.geomspace(FIRST_STEP, LAST_STEP, self.steps, dtype=np.float32), None]:
            prediction = victim.predict(iterate[rows])
            turned = prediction.verdict != goals.label[rows]
            fell[rows[turned]] = True
            rows, logits = rows[~turned], prediction.logits[:, ~turned]
            if size is None or not len(rows):
                break
            gradient = victim.gradient(iterate[rows], loss(logits, goals.where(rows))[1])
            iterate[rows] = inside(iterate[rows] + size * radius[rows] * norm.steepest(gradient), rows)
        return fell, iterate
