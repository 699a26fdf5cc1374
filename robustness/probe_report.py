"""The report of a probe: what an attack on one image found."""

from typing import Literal

from pydantic import BaseModel

from robustness.attacks.attack import ThreatModel
from runtime.manifest import Precision

Outcome = Literal["broken", "not_broken_within_budget", "wrong_before_attack"]

THREAT_MODELS: dict[ThreatModel, str] = {
    "white-box": "white-box, adaptive: the attacker has every member's weights and knows the vote",
    "black-box-score": "black-box: the attacker asks for every member's logits and knows the vote; no gradients",
    "black-box-label": "black-box: the attacker asks for the verdict and knows nothing else",
}


class Attack(BaseModel):
    """The attack that was run, with every hyperparameter."""

    name: str
    norm: str
    eps: float
    steps: int
    """Of each trajectory; of an attack that only asks, the most queries that it may make."""
    step_size: float | None
    """Null for an attack that only asks."""
    restarts: int
    random_start: bool
    label: int
    target: int | None
    seed: int
    budget_ms: int
    losses: list[str]
    halved_at: list[int]
    """Steps after which only the nearer half of each image's trajectories went on."""


class View(BaseModel):
    """What the ensemble says of one image; label and class_index are null without a quorum."""

    label: str | None
    class_index: int | None
    confidence: float | None
    agreement: float | None
    suspicious: bool | None = None


class Perturbation(BaseModel):
    """The size of the change: pixels changed, Euclidean length, largest change; pixels are in [0, 1]."""

    l0: int
    l2: float
    linf: float


class MemberView(BaseModel):
    """One member under attack. `margin` is its logit of the label less its largest other one: below 0 it is wrong."""

    name: str
    precision: Precision
    label_before: str | None
    label_after: str | None
    flipped: bool
    margin_before: float | None
    margin_after: float | None
    gradient_norm: float | None
    """Null where the member has no gradient graph."""


class Pictures(BaseModel):
    """PNG in base64. `perturbation`: grey is no change; the largest change is white or black."""

    original: str
    adversarial: str
    perturbation: str


class ProbeReport(BaseModel):
    """What an attack on one image found."""

    outcome: Outcome
    confirmed_on_served: bool
    threat_model: str
    attack: Attack
    clean: View
    adversarial: View | None
    perturbation: Perturbation | None
    smallest_eps: float | None
    """The smallest norm, along the direction found, at which the served vote falls; a smaller one may exist."""
    queries: int
    """Images that the attack showed to the served ensemble, the clean one included."""
    gradient_calls: int
    """Image gradients of single members that it took."""
    time_ms: float
    members: list[MemberView]
    warnings: list[str]
    images: Pictures
