"""Attack parameters as people give them, checked and completed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.climb import Schedule
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.gradient import DEFAULT_STEPS, KINDS
from robustness.attacks.registry import require_norm
from robustness.norms import NORMS, NormName
from runtime.errors import InvalidValue
from runtime.manifest import Manifest
from runtime.usual_eps import usual_linf_eps

GradientAttackName = Literal["fgsm", "bim", "mim", "pgd", "apgd"]
SmallestAttackName = Literal["cw-l2", "deepfool"]
QueryAttackName = Literal["square", "hopskipjump"]
AttackName = GradientAttackName | SmallestAttackName | QueryAttackName
GRADIENT_ATTACKS: tuple[AttackName, ...] = get_args(GradientAttackName)
SMALLEST_ATTACKS: tuple[AttackName, ...] = get_args(SmallestAttackName)
"""Those that follow gradients to the smallest change that turns the vote, until it lies within eps."""
QUERY_ATTACKS: tuple[AttackName, ...] = get_args(QueryAttackName)
"""Those that need no gradient graphs: square sees the members' logits, hopskipjump the verdict alone."""
ATTACKS = GRADIENT_ATTACKS + SMALLEST_ATTACKS + QUERY_ATTACKS
DEFAULT_ATTACK: AttackName = "pgd"
DEFAULT_QUERY_ATTACK: AttackName = "square"
"""Where members have no gradient graphs."""

T = TypeVar("T", bound=str)

MOST_STEPS = 1000
DEFAULT_QUERIES, MOST_QUERIES = 5_000, 10_000
"""What attacks that only ask have for steps."""
MOST_RESTARTS = 20
MOST_BUDGET_MS = 30_000


@dataclass(frozen=True)
class AttackParameters:
    """An attack, as asked for; None where the attack's own default is meant."""

    attack: str | None = None
    norm: str = "linf"
    eps: str | float | None = None
    steps: int | None = None
    step_size: str | float | None = None
    restarts: int = 1
    label: int | None = None
    target: int | None = None
    seed: int = 0
    budget_ms: int = 10_000


@dataclass(frozen=True)
class Plan:
    """A checked and completed attack."""

    attack: AttackName
    norm: NormName
    eps: float
    steps: int
    """Of each trajectory, of each search of cw-l2; of an attack that only asks, queries."""
    step_size: float | None
    restarts: int
    label: int | None
    target: int | None
    seed: int
    budget_ms: int

    @property
    def only_asks(self) -> bool:
        return self.attack in QUERY_ATTACKS

    @property
    def climbs(self) -> bool:
        """Whether it climbs losses, by a schedule."""
        return self.attack in GRADIENT_ATTACKS

    @property
    def schedule(self) -> Schedule:
        """Of an attack that climbs. Raises KeyError for another."""
        return KINDS[self.attack].schedule(self.norm, self.eps, self.steps, self.step_size)


def plan(parameters: AttackParameters, manifest: Manifest) -> Plan:
    """Check `parameters` for this bundle and fill in what was left open.

    Defaults: pgd, or square for members without gradient graphs; eps 0.3 (linf) or 2 (l2) for grey images, 8/255 or 0.5
    for colour; 40 steps of 2.5 eps / steps, for APGD of 2 eps to begin with; FGSM: one step of eps; CW-L2: 200 steps in
    each of six searches; DeepFool: 50; attacks that only ask: 5,000 queries. Raises InvalidValue, naming the parameter.
    """
    asked = default_attack(manifest) if parameters.attack is None else parameters.attack
    attack, norm = _one_of("attack", asked, ATTACKS), _one_of("norm", parameters.norm, tuple(NORMS))
    require_norm(attack, norm)
    spec = manifest.input
    largest = NORMS[norm].largest((spec.channels, spec.height, spec.width))
    eps = number("eps", parameters.eps if parameters.eps is not None else default_eps(norm, spec.channels), largest)
    (_refuse_what_does_not_fit if attack in KINDS else _refuse_what_climbs)(attack, parameters)
    steps = _integer("steps", parameters.steps, *steps_of(attack))
    step_size = None if parameters.step_size is None else number("step_size", parameters.step_size, largest)
    classes = len(manifest.labels)
    label = None if parameters.label is None else _integer("label", parameters.label, 0, 0, classes - 1)
    target = None if parameters.target is None else _integer("target", parameters.target, 0, 0, classes - 1)
    return Plan(
        attack,
        norm,
        eps,
        steps,
        step_size,
        _integer("restarts", parameters.restarts, 1, 1, MOST_RESTARTS),
        label,
        target,
        _integer("seed", parameters.seed, 0, 0, 2**63 - 1),
        _integer("budget_ms", parameters.budget_ms, 10_000, 1, MOST_BUDGET_MS),
    )


def steps_of(attack: AttackName) -> tuple[int, int, int]:
    """How many it has where nothing is said, and the fewest and most that may be asked for."""
    if attack in QUERY_ATTACKS:
        return DEFAULT_QUERIES, 1, MOST_QUERIES
    if attack in SMALLEST_ATTACKS:
        return (CarliniWagner if attack == "cw-l2" else DeepFool).steps, 1, MOST_STEPS
    return (1, 1, 1) if KINDS[attack].one_step else (DEFAULT_STEPS, 1, MOST_STEPS)


def _refuse_what_does_not_fit(attack: AttackName, parameters: AttackParameters) -> None:
    kind = KINDS[attack]
    if kind.one_step and (parameters.steps not in (None, 1) or parameters.restarts != 1):
        raise InvalidValue(f"steps, restarts: {attack} takes one step, once; expected 1 of each, or pgd as the attack")
    if not kind.random_start and parameters.restarts != 1:
        raise InvalidValue(f"restarts: {attack} has no random start; expected 1, or pgd as the attack")


def _refuse_what_climbs(attack: AttackName, parameters: AttackParameters) -> None:
    why = "only asks" if attack in QUERY_ATTACKS else "looks for the smallest change from the image to any other class"
    given = (("step_size", parameters.step_size, None), ("restarts", parameters.restarts, 1))
    for name, value, usual in (*given, ("target", parameters.target, None)):
        if value != usual:
            raise InvalidValue(f"{name}: {attack} {why} and has none; leave it out, or choose pgd as the attack")


def blind_warning(blind: Sequence[str]) -> str:
    """What every report says of members without gradient graphs."""
    return (
        f"{have(blind)} no gradient graph: only queries can attack here ({' or '.join(QUERY_ATTACKS)}); "
        "whoever has the weights has gradients too"
    )


def have(names: Sequence[str]) -> str:
    """Of members, to begin a sentence: `a, b have`."""
    return f"{', '.join(names)} {'has' if len(names) == 1 else 'have'}"


def require_gradients(attack: AttackName, blind: Sequence[str]) -> None:
    """Raises InvalidValue, saying what works, if the attack needs gradient graphs and the members `blind` have none."""
    if blind and attack not in QUERY_ATTACKS:
        raise InvalidValue(
            f"attack: {attack} needs a gradient graph of every member, and {have(blind)} none; expected one that only "
            f"asks: {' or '.join(QUERY_ATTACKS)}"
        )


def default_attack(manifest: Manifest) -> AttackName:
    """The attack where none is named."""
    whole = all(member.gradient_file is not None for member in manifest.members)
    return DEFAULT_ATTACK if whole else DEFAULT_QUERY_ATTACK


def unnamed_warning(attack: AttackName) -> str:
    """What the report of a probe says whose attack nobody chose, if it is not the usual one."""
    return f"no attack was named: {attack} was taken, because {DEFAULT_ATTACK} needs gradient graphs"


def default_eps(norm: NormName, channels: int) -> float:
    """The literature's threat models: MNIST's for grey images, CIFAR-10's for colour."""
    if norm == "linf":
        return usual_linf_eps(channels)
    return 2.0 if channels == 1 else 0.5


def _one_of(name: str, value: str, choices: tuple[T, ...]) -> T:
    for choice in choices:
        if value == choice:
            return choice
    raise InvalidValue(f"{name}: expected {' or '.join(choices)}, got {value!r}")


def number(name: str, value: str | float, largest: float) -> float:
    """A number in (0, largest], given as one or as a fraction like 8/255."""
    try:
        parts = [float(part) for part in str(value).split("/")]
        number = parts[0] if len(parts) == 1 else parts[0] / parts[1] if len(parts) == 2 else math.nan
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not 0 < number <= largest:
        raise InvalidValue(
            f"{name}: expected a number above 0 and up to {largest:g}, or a fraction like 8/255, got {value}"
        )
    return number


def _integer(name: str, value: int | None, default: int, low: int, high: int) -> int:
    if value is None:
        return default
    if not low <= value <= high:
        raise InvalidValue(f"{name}: expected {low} to {high}, got {value}")
    return value
