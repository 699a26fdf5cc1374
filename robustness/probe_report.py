"""The report of a probe: what an attack on one image found."""

from typing import Literal

from pydantic import BaseModel, Field

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

    name: str = Field(description="As it was asked for, such as `pgd`.")
    norm: str = Field(description="What eps limits: `linf`, the largest change of a value, or `l2`, the length of all.")
    eps: float = Field(description="Radius of the ball around the image; values of pixels are in [0, 1].")
    steps: int = Field(
        description="Of each trajectory, of each of the six searches of cw-l2; of an attack that only asks, the most "
        "queries it may make."
    )
    step_size: float | None = Field(
        description="Length of a step; null for an attack that only asks, or looks for the smallest change."
    )
    restarts: int = Field(description="Trajectories towards every goal.")
    random_start: bool = Field(description="Whether a trajectory starts at random in the ball, not at the image.")
    label: int = Field(description="The class index that the verdict is to leave.")
    target: int | None = Field(description="The class index that it is to reach; null: any other.")
    seed: int = Field(description="Of random starts and directions.")
    budget_ms: int = Field(description="Time after which the attack stops, in milliseconds.")
    losses: list[str] = Field(description="What was climbed, one after the other; none for an attack without a choice.")
    halved_at: list[int] = Field(
        description="Steps after which only the nearer half of each image's trajectories went on."
    )


class View(BaseModel):
    """What the ensemble says of one image; label and class_index are null without a quorum."""

    label: str | None = Field(description="The verdict.")
    class_index: int | None = Field(description="Its place among the bundle's labels.")
    confidence: float | None = Field(description="Mean probability that the members give to it.")
    agreement: float | None = Field(description="Share of the members that voted for it.")
    suspicious: bool | None = Field(
        None,
        description="Whether members are farther apart than the bundle's threshold; null without one, or a vote.",
    )


class Perturbation(BaseModel):
    """The size of the change; values of pixels are in [0, 1]."""

    l0: int = Field(description="Pixels changed.")
    l2: float = Field(description="Euclidean length of the change.")
    linf: float = Field(description="Largest change of a value.")


class MemberView(BaseModel):
    """One member under attack. `margin` is its logit of the label less its largest other one: below 0 it is wrong."""

    name: str = Field(description="The member's, in the manifest.")
    precision: Precision
    label_before: str | None = Field(description="Its vote on the image; null: it has none.")
    label_after: str | None = Field(description="Its vote on the adversarial image; without one the same.")
    flipped: bool = Field(description="Whether the two differ.")
    margin_before: float | None = Field(description="Its margin on the image; null without a vote.")
    margin_after: float | None = Field(description="On the adversarial image; null without one.")
    gradient_norm: float | None = Field(
        description="Length of its margin's gradient at the image; 0 blinds a gradient attack, null: no gradient graph."
    )


class Pictures(BaseModel):
    """PNG in base64."""

    original: str = Field(description="The image, as the members see it.")
    adversarial: str = Field(description="What was found; the original if nothing was.")
    perturbation: str = Field(description="The change: grey is none, the largest is white or black.")


class ProbeReport(BaseModel):
    """What an attack on one image found."""

    outcome: Outcome = Field(description="`not_broken_within_budget` is not robust: another attack may succeed.")
    confirmed_on_served: bool = Field(
        description="Whether the served graphs, asked once more, give the adversarial image the verdict wanted."
    )
    threat_model: str = Field(description="What the attacker has and knows, in words.")
    attack: Attack
    clean: View
    adversarial: View | None = Field(description="Null if no adversarial image was found.")
    perturbation: Perturbation | None = Field(description="Null likewise.")
    smallest_eps: float | None = Field(
        description="The smallest norm on the way to the adversarial image where the vote falls; others may be smaller."
    )
    queries: int = Field(description="Images that the attack showed to the served ensemble, the clean one included.")
    gradient_calls: int = Field(description="Image gradients of single members that it took.")
    time_ms: float = Field(description="Of the attack and its report, in milliseconds.")
    members: list[MemberView] = Field(description="In the manifest's order.")
    warnings: list[str] = Field(description="What may make the attack weaker than it looks, in words.")
    images: Pictures
