"""Attacks by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from robustness.attacks.attack import Attack
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.gradient import DEFAULT_STEPS, KINDS, GradientAttack, halvings
from robustness.attacks.hopskipjump import HopSkipJump
from robustness.attacks.square import Square
from robustness.losses.loss_names import LOSSES, is_loss, to_every_class
from robustness.norms import NormName
from runtime.errors import InvalidValue


@dataclass(frozen=True)
class Settings:
    """What an attack is built from; None where its own default is meant, and what it has no use for is ignored.

    eps: the radius of the ball, in units of pixels in [0, 1]. steps: of each trajectory, or queries for each image of
    an attack that only asks. restarts: trajectories for each image and goal. halve: of a loss that is climbed to every
    class, only the trajectories with the largest loss go on to the end.
    """

    norm: NormName = "linf"
    eps: float = 0.3
    steps: int | None = None
    step_size: float | None = None
    restarts: int = 1
    halve: bool = False


Factory = Callable[[Settings], Attack]


def require_norm(name: str, norm: NormName) -> None:
    """Raises InvalidValue if the attack of this name has another norm only."""
    if name == "cw-l2" and norm != "l2":
        raise InvalidValue(f"norm: expected l2 for cw-l2, got {norm!r}")


def _carlini_wagner(settings: Settings) -> Attack:
    require_norm("cw-l2", settings.norm)
    default = CarliniWagner(eps=settings.eps)
    return replace(
        default,
        steps=settings.steps or default.steps,
        learning_rate=settings.step_size or default.learning_rate,
    )


def _deepfool(settings: Settings) -> Attack:
    default = DeepFool(settings.norm, settings.eps)
    return replace(default, steps=settings.steps or default.steps)


def _square(settings: Settings) -> Attack:
    default = Square(settings.norm, settings.eps)
    return replace(default, queries=settings.steps or default.queries)


def _hopskipjump(settings: Settings) -> Attack:
    default = HopSkipJump(settings.norm, settings.eps)
    return replace(default, queries=settings.steps or default.queries)


FACTORIES: dict[str, Factory] = {
    "cw-l2": _carlini_wagner,
    "deepfool": _deepfool,
    "square": _square,
    "hopskipjump": _hopskipjump,
}
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
    halve_at = halvings(schedule.steps) if settings.halve and to_every_class(loss) else ()
    return GradientAttack(kind, loss, schedule, restarts, halve_at=halve_at)
