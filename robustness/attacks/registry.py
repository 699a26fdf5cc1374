"""Attacks by name."""

from collections.abc import Callable
from dataclasses import dataclass

from robustness.attacks.attack import Attack
from robustness.attacks.gradient import DEFAULT_STEPS, KINDS, GradientAttack
from robustness.loss_names import LOSSES, is_loss
from robustness.norms import NormName
from runtime.errors import InvalidValue


@dataclass(frozen=True)
class Settings:
    """What an attack is built from; None where its own default is meant, and what it has no use for is ignored.

    eps: the radius of the ball, in units of pixels in [0, 1]. steps: of each trajectory, or queries for each image of
    an attack that only asks. restarts: trajectories for each image and goal.
    """

    norm: NormName = "linf"
    eps: float = 0.3
    steps: int | None = None
    step_size: float | None = None
    restarts: int = 1


Factory = Callable[[Settings], Attack]

FACTORIES: dict[str, Factory] = {}
"""The attacks without a choice of losses."""

DEFAULT_LOSS = "joint_margin"


def attack_names() -> list[str]:
    """All names of attacks; one of the gradient family may be followed by `-` and a loss."""
    return [*KINDS, *FACTORIES]


def make_attack(name: str, settings: Settings) -> Attack:
    """The attack of this name: `square`, `pgd`, or with its loss `pgd-joint_margin`.

    Raises InvalidValue, with the names that there are, if there is none.
    """
    if name in FACTORIES:
        return FACTORIES[name](settings)
    kind, separator, loss = name.partition("-")
    loss = loss if separator else DEFAULT_LOSS
    if kind not in KINDS or not is_loss(loss):
        raise InvalidValue(
            f"attack: expected one of {', '.join(attack_names())}, "
            f"or {', '.join(KINDS)} with - and one of the losses {', '.join(LOSSES)}, got {name!r}"
        )
    schedule = KINDS[kind].schedule(settings.norm, settings.eps, settings.steps or DEFAULT_STEPS, settings.step_size)
    restarts = settings.restarts if schedule.random_start else 1
    return GradientAttack(kind, loss, schedule, restarts)
