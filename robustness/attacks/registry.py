"""Attacks by name."""

from collections.abc import Callable
from dataclasses import dataclass

from robustness.attacks.attack import Attack
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


def make_attack(name: str, settings: Settings) -> Attack:
    """The attack of this name. Raises InvalidValue, with the names that there are, if there is none."""
    if name not in FACTORIES:
        raise InvalidValue(f"attack: expected one of {', '.join(sorted(FACTORIES))}, got {name!r}")
    return FACTORIES[name](settings)
