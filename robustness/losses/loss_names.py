"""Losses by name, made for a victim: which terms, over which members, towards which classes."""

from dataclasses import dataclass

from robustness.losses import terms
from robustness.losses.coalitions import coalitions
from robustness.losses.over_members import Loss, alone, cross_entropy, joint, mean
from robustness.losses.terms import Term
from robustness.victim import Victim
from runtime.errors import InvalidValue

TERMS: dict[str, tuple[Term, float]] = {
    "probability": (terms.probability, 0.1),
    "log_probability": (terms.log_probability, 2.0),
    "margin": (terms.margin, 2.0),
    "dlr": (terms.dlr, 0.1),
    "nearness": (terms.nearness, 0.1),
}
"""Each with the smoothness of its joint form, in its own units.

Of members that are all but certain the joint forms of the two that end at 1, `probability` and `nearness`, see the
direction but not how far they are; those of the others see both.
"""

FORMS = ("mean", "targeted", "joint")
"""mean: away from the label. targeted: to each other class, too. joint: the same over coalitions of members."""

ALONE = "alone:"
LOSSES = (
    *(f"{form}_{term}" for form in FORMS for term in TERMS),
    "cross_entropy",
    "targeted_cross_entropy",
    f"{ALONE}MEMBER",
)
"""Names of losses. The joint form of the cross entropy is `joint_log_probability`, member by member."""


@dataclass(frozen=True)
class MadeLoss:
    """A loss, and whether it is climbed towards each of the likeliest other classes, or just away from the label."""

    loss: Loss
    every_class: bool


def is_loss(name: str) -> bool:
    """Whether there is a loss of this name; of `alone:MEMBER` for some victim."""
    return name in LOSSES or name.startswith(ALONE)


def to_every_class(name: str) -> bool:
    """Whether a loss of this name is climbed to each other class, and not just away from the label."""
    return name.startswith(("targeted_", "joint_"))


def make_loss(name: str, victim: Victim) -> MadeLoss:
    """The loss of this name for this victim. With the `average` vote, which has no coalitions, joint is targeted.

    Raises InvalidValue, with the names that there are, if there is none.
    """
    if name.startswith(ALONE):
        return MadeLoss(alone(_member(name, victim)), every_class=False)
    if name in ("cross_entropy", "targeted_cross_entropy"):
        return MadeLoss(cross_entropy(victim.temperatures), to_every_class(name))
    form, _, of = name.partition("_")
    if name not in LOSSES:
        raise InvalidValue(f"loss: expected one of {', '.join(LOSSES)}, got {name!r}")
    term, smoothness = TERMS[of]
    tie_breaker = victim.ensemble.tie_breaker
    if form != "joint" or tie_breaker is None or victim.ensemble.vote.rule == "average":
        return MadeLoss(mean(term, victim.temperatures), to_every_class(name))
    groups = coalitions(victim.n_members, tie_breaker)
    return MadeLoss(joint(term, victim.temperatures, groups, smoothness), every_class=True)


def _member(name: str, victim: Victim) -> int:
    members = [member.name for member in victim.ensemble.members]
    if name.removeprefix(ALONE) not in members:
        raise InvalidValue(f"loss: expected one of {', '.join(ALONE + member for member in members)}, got {name!r}")
    return members.index(name.removeprefix(ALONE))
