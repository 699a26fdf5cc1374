"""One step of an evaluation: an attack, what it attacks, and which of the images."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from robustness.attacks.attack import Attack, Labels
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.empir_2020 import Empir2020
from robustness.attacks.hopskipjump import HopSkipJump
from robustness.attacks.registry import Settings, make_attack
from robustness.attacks.square import Square
from robustness.evaluation.nearest import Nearest
from robustness.norms import NormName
from robustness.reporting.report import VOTE
from robustness.victim import Array
from runtime.errors import InvalidValue

Purpose = Literal["worst case", "paper", "curve", "check", "nearest"]
LabelsName = Literal["true", "clean verdict"]

REFERENCE = "autoattack-"
PAPER = "empir-2020-"
CLEAN = "clean"
NEAREST = "nearest"
HOPSKIPJUMP = "hopskipjump"
MOST_STARTS = 50
QUERIES = 1000
REFERENCE_COST = {"apgd-ce": 100, "apgd-t": 900, "fab-t": 1800, "square": 1700}
"""The attacks of AutoAttack's standard version, about, in gradients."""

TIMES = {"cw-l2": CarliniWagner.search_steps, "deepfool": DeepFool.candidates}
"""Gradients that a step takes of attacks that follow no loss."""


@dataclass(frozen=True)
class Step:
    """An attack `name` built from `settings`, on the vote or on one member alone (`on`).

    In a cascade it runs on the images on which that still stands; otherwise on all, or on the first `most`. What it
    finds counts for the report's worst case wherever it lies inside the report's ball.
    """

    attack: str
    settings: Settings
    on: str = VOTE
    purpose: Purpose = "worst case"
    cascade: bool = True
    most: int | None = None
    note: str = ""
    label: str | None = None
    """Its name in the report, where that of the attack would not tell it from another."""
    labels: LabelsName = "true"
    member: str | None = None
    """Whose gradient the paper's attacks take."""

    @property
    def name(self) -> str:
        on = "" if self.on == VOTE else f" on {self.on}"
        return f"{self.label or self.attack}{on}"

    @property
    def ball(self) -> tuple[NormName, float] | None:
        """The attack's own: None where its norm is minimised without a limit."""
        return None if self.attack == f"{PAPER}cw" else (self.settings.norm, self.settings.eps)

    @property
    def cost(self) -> float:
        """About, in gradients of all members for one image: for the progress bar."""
        steps = self.settings.steps or 40
        goals = 1.0
        if any(form in self.attack for form in ("joint", "targeted")):
            goals = 3.3 if self.settings.halve else 10
        goals = TIMES.get(self.attack, goals)
        if self.attack in (CLEAN, "square", HOPSKIPJUMP):
            steps, goals = steps // 3, 1
        if self.attack.startswith(REFERENCE):
            steps, goals = REFERENCE_COST[self.attack.removeprefix(REFERENCE)], 1
        if self.attack == NEAREST:
            goals = Nearest.rounds
        return (1 + steps * goals * self.settings.restarts) * (1.0 if self.on == VOTE else 0.4)


def build(step: Step, known: Array | None = None, starts: Array | None = None) -> Attack:
    """The attack of a step; `known` is what the search for nearer images begins with, an adversarial image for each.

    `starts` [S, C, H, W] are images that HopSkipJump may start from. Raises InvalidValue if there is none of its name.
    """
    if step.attack == f"{PAPER}cw":
        return CarliniWagner(
            search_steps=1,
            steps=50,
            learning_rate=0.1,
            c=10.0,
            confidence=0.0,
            inside=0.999999,
            member=step.member,
            transfer=True,
        )
    if step.attack.startswith(PAPER):
        return _paper(step)
    if step.attack.startswith(REFERENCE):
        return _reference(step)
    return _ours(step, known, starts)


def _ours(step: Step, known: Array | None, starts: Array | None) -> Attack:
    settings = step.settings
    if step.attack == NEAREST:
        return Nearest(settings.norm, steps=settings.steps or Nearest.steps, known=known)
    if step.attack == "square":
        return Square(settings.norm, settings.eps, queries=settings.steps or QUERIES)
    if step.attack == HOPSKIPJUMP:
        queries = settings.steps or QUERIES
        return HopSkipJump(
            settings.norm, settings.eps, queries=queries, first_queries=50, starts=20, start_images=starts
        )
    return make_attack(step.attack, step.settings)


def _paper(step: Step) -> Empir2020:
    kind, settings = step.attack.removeprefix(PAPER), step.settings
    size = settings.step_size or settings.eps
    return Empir2020(kind, settings.eps, settings.steps or 1, size, kind == "pgd", step.member)


def _reference(step: Step) -> Attack:
    try:
        from robustness.reference import AutoAttack, AutoAttackName  # needs torch: only where it is asked for
    except ImportError as error:
        raise InvalidValue(f'suite: AutoAttack needs the package {error.name}: pip install -e ".[evaluate]"') from error
    name = next(name for name in get_args(AutoAttackName) if name == step.attack.removeprefix(REFERENCE))
    return AutoAttack(name, step.settings.norm, step.settings.eps)


def needs_gradients(step: Step) -> bool:
    """Whether what a step attacks must have gradient graphs."""
    return step.attack != CLEAN and build(step).threat_model == "white-box"


def described(step: Step) -> dict[str, Any]:
    """Everything that a step is, as JSON can hold it: two runs with the same are the same."""
    parameters = {} if step.attack == CLEAN else parameters_of(step)
    return {
        "name": step.name,
        "on": step.on,
        "attack": step.attack,
        "cascade": step.cascade,
        "most": step.most,
        "labels": step.labels,
        "parameters": parameters,
    }


def parameters_of(step: Step) -> dict[str, Any]:
    """The attack's hyperparameters."""
    if step.attack == CLEAN:
        return {}
    where = {"start_images": f"up to {MOST_STARTS} of those drawn"} if step.attack == HOPSKIPJUMP else {}
    return build(step).parameters() | where


def starts_of(step: Step, images: Array, labels: Labels) -> Array | None:
    """Of all images drawn [N, C, H, W] those that a step's attack may start from: one of each class, then others."""
    if step.attack != HOPSKIPJUMP:
        return None
    first = np.sort(np.unique(labels, return_index=True)[1])
    chosen: Array = images[np.concatenate([first, np.setdiff1d(np.arange(len(labels)), first)])[:MOST_STARTS]]
    return chosen
