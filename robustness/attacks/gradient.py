"""The gradient family, all settings of one loop: FGSM, BIM, MIM, PGD and APGD."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.attacks.climb import Schedule, climb
from robustness.attacks.steppers import StepperName
from robustness.losses.goals import ANY_OTHER, as_asked, every_class
from robustness.losses.loss_names import make_loss
from robustness.norms import NormName
from robustness.victim import Array, Victim

DEFAULT_STEPS = 40
FEWEST_TO_HALVE = 20
EARLY = (2, 4, 7)
"""After so many twentieths of the steps an evaluation halves an image's trajectories: of ten two go on to the end, and
a third of the gradients are asked for."""


@dataclass(frozen=True)
class Kind:
    """What tells one gradient attack from another."""

    random_start: bool
    one_step: bool = False
    stepper: StepperName = "steepest"
    decay: float = 0.0

    def schedule(self, norm: NormName, eps: float, steps: int, step_size: float | None = None) -> Schedule:
        """Its schedule; the step size, where left open, is 2 eps to begin with if it adapts, else `usual_step`."""
        steps = 1 if self.one_step else steps
        if step_size is None:
            step_size = 2 * eps if self.stepper == "adaptive" else usual_step(eps, steps)
        return Schedule(norm, eps, steps, step_size, self.random_start, self.stepper, self.decay)


def usual_step(eps: float, steps: int) -> float:
    """2.5 eps / steps, at most eps: enough to cross the ball."""
    return min(eps, 2.5 * eps / steps)


def halvings(steps: int, twentieths: tuple[int, ...] = EARLY) -> tuple[int, ...]:
    """The steps, after so many twentieths of them, at which half of an image's trajectories stop; none for a short
    attack.

    >>> halvings(40), halvings(40, (4, 8)), halvings(10)
    ((4, 8, 14), (8, 16), ())
    """
    return tuple(share * steps // 20 for share in twentieths) if steps >= FEWEST_TO_HALVE else ()


KINDS: dict[str, Kind] = {
    "fgsm": Kind(random_start=False, one_step=True),
    "bim": Kind(random_start=False),
    "mim": Kind(random_start=False, decay=1.0),
    "pgd": Kind(random_start=True),
    "apgd": Kind(random_start=True, stepper="adaptive"),
}


@dataclass(frozen=True)
class GradientAttack:
    """Climbs the loss `loss` of robustness/losses/loss_names.py by `schedule`, `restarts` times for each goal.

    At the steps `halve_at` the half of each image's trajectories with the smaller loss stops.
    """

    kind: str
    loss: str
    schedule: Schedule
    restarts: int = 1
    most_classes: int = 9
    """A targeted or joint loss is climbed towards so many of the likeliest other classes, and away from the label."""
    halve_at: tuple[int, ...] = ()

    threat_model: ClassVar[ThreatModel] = "white-box"

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.loss}"

    def parameters(self) -> dict[str, Any]:
        mine = {
            "loss": self.loss,
            "restarts": self.restarts,
            "most_classes": self.most_classes,
            "halve_at": [*self.halve_at],
        }
        return {**asdict(self.schedule), **mine}

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """Raises InvalidValue if there is no such loss, or a member that it climbs has no gradient graph."""
        made = make_loss(self.loss, victim)
        clean = victim.predict(images)
        found = {int(i): Found(int(i), images[i], 0) for i in np.flatnonzero(clean.verdict != labels)}
        targets = np.full(len(labels), ANY_OTHER)
        if made.every_class:
            goals = every_class(labels, targets, victim.calibrated(clean), self.most_classes)
        else:
            goals = as_asked(labels, targets)
        goals = goals.where(~np.isin(goals.source, list(found))).repeated(self.restarts)
        return found | climb(
            victim, images, goals, made.loss, self.schedule, generator, halve_at=self.halve_at, out_of_time=out_of_time
        )
