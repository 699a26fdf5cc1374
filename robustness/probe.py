"""The probe: attack one image, white-box and knowing the vote, and report what happened."""

import base64
import time
from typing import Literal

import numpy as np
from pydantic import BaseModel

from robustness.coalitions import coalitions
from robustness.goals import ANY_OTHER, as_asked, every_class
from robustness.gradient_attacks import climb
from robustness.losses import Loss, joint_margin, mean_probability
from robustness.norms import NORMS
from robustness.parameters import AttackParameters, Plan, plan
from robustness.victim import Array, Spent, Victim
from runtime.errors import NoQuorum
from runtime.images import encode_png
from runtime.manifest import Manifest, Precision
from runtime.prediction import Prediction
from runtime.vote import NO_VOTE

Outcome = Literal["broken", "not_broken_within_budget", "wrong_before_attack"]

THREAT_MODEL = "white-box, adaptive: the attacker has every member's weights and knows the vote"


class Attack(BaseModel):
    """The attack that was run, with every hyperparameter."""

    name: str
    norm: str
    eps: float
    steps: int
    step_size: float
    restarts: int
    random_start: bool
    label: int
    target: int | None
    seed: int
    budget_ms: int
    losses: list[str]


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
    gradient_norm: float


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
    gradient_calls: int
    time_ms: float
    members: list[MemberView]
    warnings: list[str]
    images: Pictures


def probe(victim: Victim, manifest: Manifest, image: Array, parameters: AttackParameters) -> ProbeReport:
    """Attack `image`, float32 [1, C, H, W] in [0, 1].

    First the mean probability of all members, then every joint targeted goal. Raises InvalidValue for a parameter that
    is out of range, NoQuorum if the clean image has no verdict and no label is given.
    """
    chosen = plan(parameters, manifest)
    start = time.perf_counter()
    victim.spent = Spent()
    clean = victim.predict(image)
    label = int(clean.verdict[0]) if chosen.label is None else chosen.label
    if label == NO_VOTE:
        raise NoQuorum(f"label: expected one, because the image has no verdict to attack: {clean.details}")
    warnings: list[str] = []
    if label == chosen.target:
        warnings.append("the target is the label: there is nothing to attack")
    outcome: Outcome = "wrong_before_attack"
    adversarial: Array | None = None
    losses: list[str] = []
    if clean.verdict[0] == label and label != chosen.target:
        adversarial, losses, in_time = _attack(victim, image, clean, label, chosen, start)
        outcome = "not_broken_within_budget" if adversarial is None else "broken"
        if not in_time:
            warnings.append(f"stopped by budget_ms={chosen.budget_ms} before every step was made")
    smallest = None if adversarial is None else _smallest(victim, image, adversarial, label, chosen)
    norms = _gradient_norms(victim, image, clean, label)
    attack = Attack(
        name=chosen.attack,
        label=label,
        losses=losses,
        **{k: getattr(chosen, k) for k in ("restarts", "target", "seed", "budget_ms")},
        **vars(chosen.schedule),
    )
    return _report(victim, manifest, image, adversarial, clean, attack, outcome, smallest, norms, warnings, start)


def _attack(
    victim: Victim, image: Array, clean: Prediction, label: int, chosen: Plan, start: float
) -> tuple[Array | None, list[str], bool]:
    """The adversarial image, if one was found, the losses that were climbed, and whether the time was enough."""
    generator = np.random.default_rng(chosen.seed)
    labels = np.array([label])
    targets = np.array([ANY_OTHER if chosen.target is None else chosen.target])
    stages = [
        ("mean_probability", mean_probability(victim.temperatures), as_asked(labels, targets)),
        (*_joint_loss(victim), every_class(labels, targets, clean.logits)),
    ]

    def out_of_time() -> bool:
        return 1000 * (time.perf_counter() - start) > chosen.budget_ms

    losses = []
    for name, loss, goals in stages:
        losses.append(name)
        repeated = goals.repeated(chosen.restarts)
        found = climb(victim, image, repeated, loss, chosen.schedule, generator, out_of_time=out_of_time)
        if found:
            return found[0].image[None], losses, True
        if out_of_time():
            return None, losses, False
    return None, losses, True


def _joint_loss(victim: Victim) -> tuple[str, Loss]:
    """The loss that is climbed to each class in turn; an average has no coalitions."""
    tie_breaker = victim.ensemble.tie_breaker
    if tie_breaker is None or victim.ensemble.vote.rule == "average":
        return "targeted_mean_probability", mean_probability(victim.temperatures)
    return "joint_targeted", joint_margin(victim.temperatures, coalitions(victim.n_members, tie_breaker))


def _smallest(victim: Victim, image: Array, adversarial: Array, label: int, chosen: Plan) -> float:
    """The smallest norm on the way from image to adversarial at which the served vote falls; two sweeps of 32."""
    low, high = 0.0, 1.0
    for _ in range(2):
        shares = np.linspace(low, high, 33)[1:]
        way = (image + shares.astype(np.float32).reshape(-1, 1, 1, 1) * (adversarial - image)).clip(0, 1)
        verdict = victim.predict(way.astype(np.float32)).verdict
        fallen = np.flatnonzero(verdict != label if chosen.target is None else verdict == chosen.target)
        if len(fallen) == 0:
            break
        high = float(shares[fallen[0]])
        low = high - (shares[1] - shares[0])
    size = NORMS[chosen.schedule.norm].size(adversarial - image)
    return float(high * size[0])


def _gradient_norms(victim: Victim, image: Array, clean: Prediction, label: int) -> list[float]:
    """Length of each member's gradient of its margin (label less likeliest other class) at the clean image."""
    norms = []
    for member in range(victim.n_members):
        others = clean.logits[member, 0].copy()
        others[label] = -np.inf
        cotangents = np.zeros(clean.logits.shape, dtype=np.float32)
        cotangents[member, 0, label], cotangents[member, 0, others.argmax()] = 1, -1
        norms.append(float(np.linalg.norm(victim.gradient(image, cotangents).astype(np.float64))))
    return norms


def _report(
    victim: Victim,
    manifest: Manifest,
    image: Array,
    adversarial: Array | None,
    clean: Prediction,
    attack: Attack,
    outcome: Outcome,
    smallest: float | None,
    norms: list[float],
    warnings: list[str],
    start: float,
) -> ProbeReport:
    after = None if adversarial is None else victim.predict(adversarial)
    change = None if adversarial is None else (adversarial - image).astype(np.float64)
    warnings += [
        f"member {member.name}: its gradient at the clean image is 0, so a gradient attack is blind to it"
        for member, norm in zip(manifest.members, norms, strict=True)
        if norm == 0
    ]
    confirmed = after is not None and (
        after.verdict[0] != attack.label if attack.target is None else after.verdict[0] == attack.target
    )
    if adversarial is not None and _restored_by_rounding(victim, adversarial, attack):
        warnings.append("rounded to 8 bits, as in the PNG, the adversarial image no longer does it")
    return ProbeReport(
        outcome=outcome,
        confirmed_on_served=confirmed,
        threat_model=THREAT_MODEL,
        attack=attack,
        clean=_view(clean, manifest),
        adversarial=None if after is None else _view(after, manifest),
        perturbation=None
        if change is None
        else Perturbation(
            l0=int((change != 0).sum()), l2=float(np.linalg.norm(change)), linf=float(np.abs(change).max())
        ),
        smallest_eps=smallest,
        queries=victim.spent.queries,
        gradient_calls=victim.spent.gradient_calls,
        time_ms=round(1000 * (time.perf_counter() - start), 2),
        members=[_member_view(m, manifest, clean, after, attack.label, norms[m]) for m in range(len(manifest.members))],
        warnings=warnings,
        images=_pictures(image, image if adversarial is None else adversarial),
    )


def _restored_by_rounding(victim: Victim, adversarial: Array, attack: Attack) -> bool:
    verdict = victim.predict((np.rint(adversarial * 255) / 255).astype(np.float32)).verdict[0]
    return bool(verdict == attack.label if attack.target is None else verdict != attack.target)


def _view(prediction: Prediction, manifest: Manifest) -> View:
    verdict = int(prediction.verdict[0])
    if verdict == NO_VOTE:
        return View(label=None, class_index=None, confidence=None, agreement=None)
    return View(
        label=manifest.labels[verdict],
        class_index=verdict,
        confidence=round(prediction.confidence(0), 6),
        agreement=round(prediction.agreement(0), 6),
    )


def _member_view(
    index: int, manifest: Manifest, clean: Prediction, after: Prediction | None, label: int, norm: float
) -> MemberView:
    entry = manifest.members[index]
    before = clean.votes[index, 0]
    now = before if after is None else after.votes[index, 0]
    return MemberView(
        name=entry.name,
        precision=entry.precision,
        label_before=None if before == NO_VOTE else manifest.labels[before],
        label_after=None if now == NO_VOTE else manifest.labels[now],
        flipped=bool(before != now),
        margin_before=_margin(clean, index, label),
        margin_after=None if after is None else _margin(after, index, label),
        gradient_norm=norm,
    )


def _margin(prediction: Prediction, member: int, label: int) -> float | None:
    if prediction.votes[member, 0] == NO_VOTE:
        return None
    logits = prediction.logits[member, 0]
    return round(float(logits[label] - np.delete(logits, label).max()), 4)


def _pictures(image: Array, adversarial: Array) -> Pictures:
    change = (adversarial - image)[0]
    largest = float(np.abs(change).max())
    magnified = 0.5 + 0.5 * change / (largest or 1)
    original, attacked, shown = (
        base64.b64encode(encode_png(pixels)).decode() for pixels in (image[0], adversarial[0], magnified)
    )
    return Pictures(original=original, adversarial=attacked, perturbation=shown)
