"""The probe: attack one image, knowing the vote, and report what happened."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Attack as RegisteredAttack
from robustness.attacks.climb import climb
from robustness.attacks.gradient import halvings
from robustness.attacks.registry import Settings, make_attack
from robustness.line import border
from robustness.losses.goals import ANY_OTHER, Goals, as_asked, every_class
from robustness.losses.loss_names import make_loss
from robustness.losses.over_members import Loss, alone
from robustness.norms import NORMS
from robustness.parameters import AttackParameters, Plan, blind_warning, plan, require_gradients, unnamed_warning
from robustness.probe_report import THREAT_MODELS, Attack, Outcome, ProbeReport
from robustness.probe_views import in_8_bits, member_view, perturbation, pictures, view
from robustness.victim import Array, Spent, Victim
from runtime.errors import InvalidValue, NoQuorum
from runtime.manifest import Manifest
from runtime.prediction import Prediction
from runtime.vote import NO_VOTE

HALVED_AFTER = (4, 8)
"""Twentieths of the steps: later than in an evaluation, in which other losses follow."""
QUERIES_FOUND_NOTHING = "attacked by queries alone: an attacker with gradients often finds what queries miss"


def probe(victim: Victim, manifest: Manifest, image: Array, parameters: AttackParameters) -> ProbeReport:
    """Attack `image`, float32 [1, C, H, W] in [0, 1].

    Of the losses first the mean probability of all members is climbed, then, if the vote holds, the joint margin to
    every other class; some attacks have no choice of losses. Raises InvalidValue for a parameter that is out of range,
    or an attack with gradients on members that have none; NoQuorum without a label if the image has no verdict either.
    """
    chosen = plan(parameters, manifest)
    start = time.perf_counter()
    victim.spent = Spent()
    clean = victim.predict(image)
    label = int(clean.verdict[0]) if chosen.label is None else chosen.label
    if label == NO_VOTE:
        raise NoQuorum(f"label: expected one, because the image has no verdict to attack: {clean.details}")
    if label == chosen.target:
        raise InvalidValue(f"target: expected another class than the label, which is {label}")
    require_gradients(chosen.attack, victim.blind)
    run = _Run(victim, manifest, image, chosen, clean, label, start)
    if parameters.attack is None and chosen.only_asks:
        run.warnings.append(unnamed_warning(chosen.attack))
    return run.attack() if clean.verdict[0] == label else run.report("wrong_before_attack", None)


def halving_steps(steps: int) -> list[int]:
    """The steps of an attack at which half of its trajectories stop; none for a short attack."""
    return [*halvings(steps, HALVED_AFTER)]


@dataclass
class _Run:
    """One probe under way."""

    victim: Victim
    manifest: Manifest
    image: Array
    chosen: Plan
    clean: Prediction
    label: int
    start: float
    losses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def attack(self) -> ProbeReport:
        """Until the vote falls, everything was tried or the time is over."""
        generator = np.random.default_rng(self.chosen.seed)
        return self._climb(generator) if self.chosen.climbs else self._search(generator)

    def _search(self, generator: np.random.Generator) -> ProbeReport:
        """An attack without a choice of losses."""
        attack, labels = self._registered(), np.array([self.label])
        found = attack.run(self.victim, self.image, labels, generator, out_of_time=self._out_of_time)
        if not found:
            self._warn_of_the_time()
            self.warnings += [QUERIES_FOUND_NOTHING] * self.chosen.only_asks
        return self.report("broken", found[0].image[None]) if found else self.report("not_broken_within_budget", None)

    def _registered(self) -> RegisteredAttack:
        chosen = self.chosen
        return make_attack(chosen.attack, Settings(norm=chosen.norm, eps=chosen.eps, steps=chosen.steps))

    def _climb(self, generator: np.random.Generator) -> ProbeReport:
        """Climb one loss after the other."""
        for name, loss, goals in self._stages():
            self.losses.append(name)
            trajectories = goals.repeated(self.chosen.restarts)
            schedule, late = self.chosen.schedule, self._out_of_time
            found = climb(
                self.victim,
                self.image,
                trajectories,
                loss,
                schedule,
                generator,
                halve_at=self._halve_at,
                out_of_time=late,
            )
            if found:
                return self.report("broken", found[0].image[None])
            if self._warn_of_the_time():
                break
        return self.report("not_broken_within_budget", None)

    def _warn_of_the_time(self) -> bool:
        if self._out_of_time():
            self.warnings.append(f"stopped by budget_ms={self.chosen.budget_ms} before every step was made")
            return True
        return False

    def report(self, outcome: Outcome, adversarial: Array | None) -> ProbeReport:
        """The report, with what the served graphs say of the adversarial image, asked again."""
        spent = replace(self.victim.spent)  # what follows is the report's own asking, not the attack's
        smallest = None if adversarial is None else self._smallest(adversarial)
        norms = self._gradient_norms()
        after = None if adversarial is None else self.victim.predict(adversarial)
        if adversarial is not None and not self._fallen(in_8_bits(adversarial))[0]:
            self.warnings.append("rounded to 8 bits, as in the PNG, the adversarial image no longer does it")
        if self.victim.blind:
            self.warnings.append(blind_warning(self.victim.blind))
        if spent.not_finite:
            share = f"{spent.not_finite} of {spent.gradient_calls} gradients"
            self.warnings.append(f"{share} were not finite and counted as 0, which makes the attack weaker")
        members = range(len(self.manifest.members))
        return ProbeReport(
            outcome=outcome,
            confirmed_on_served=adversarial is not None and bool(self._fallen(adversarial)[0]),
            threat_model=self._threat_model(),
            attack=self._described(),
            clean=view(self.clean, self.manifest),
            adversarial=None if after is None else view(after, self.manifest),
            perturbation=None if adversarial is None else perturbation(self.image, adversarial),
            smallest_eps=smallest,
            members=[member_view(m, self.manifest, self.clean, after, self.label, norms[m]) for m in members],
            warnings=self.warnings,
            images=pictures(self.image, self.image if adversarial is None else adversarial),
            queries=spent.queries,
            gradient_calls=spent.gradient_calls,
            time_ms=round(1000 * (time.perf_counter() - self.start), 2),
        )

    def _threat_model(self) -> str:
        return THREAT_MODELS["white-box" if self.chosen.climbs else self._registered().threat_model]

    def _stages(self) -> list[tuple[str, Loss, Goals]]:
        labels = np.array([self.label])
        targets = np.array([ANY_OTHER if self.chosen.target is None else self.chosen.target])
        ensemble = self.victim.ensemble
        if ensemble.tie_breaker is None or ensemble.vote.rule == "average":  # an average has no coalitions
            name, second = "targeted_mean_probability", "targeted_probability"
        else:
            name, second = "joint_targeted", "joint_margin"
        return [
            ("mean_probability", make_loss("mean_probability", self.victim).loss, as_asked(labels, targets)),
            (
                name,
                make_loss(second, self.victim).loss,
                every_class(labels, targets, self.victim.calibrated(self.clean)),
            ),
        ]

    @property
    def _halve_at(self) -> list[int]:
        """After one and two fifths of the steps the nearer half of the trajectories goes on, for half the time in all.

        What that costs in strength is measured by `python -m benchmarks halving`.
        """
        return halving_steps(self.chosen.steps) if self.chosen.climbs else []

    def _out_of_time(self) -> bool:
        return 1000 * (time.perf_counter() - self.start) > self.chosen.budget_ms

    def _fallen(self, images: Array) -> NDArray[np.bool_]:
        """Whether the served verdict on each image is what the attack wants."""
        return self._wanted(self.victim.predict(images).verdict)

    def _wanted(self, verdict: NDArray[np.int64]) -> NDArray[np.bool_]:
        target = self.chosen.target
        wanted: NDArray[np.bool_] = verdict != self.label if target is None else verdict == target
        return wanted

    def _smallest(self, adversarial: Array) -> float:
        """The smallest norm on the way from image to adversarial at which the served vote falls."""
        _, beyond = border(self.victim, self.image[0], adversarial[0], self._wanted)
        return round(float(NORMS[self.chosen.norm].size(beyond[None] - self.image)[0]), 6)

    def _gradient_norms(self) -> list[float | None]:
        """Length of each member's gradient of its margin (label less likeliest other class) at the clean image; None
        without a gradient graph."""
        norms: list[float | None] = []
        for index, member in enumerate(self.manifest.members):
            if not self.victim.differentiable[index]:
                norms.append(None)
                continue
            _, cotangents = alone(index)(self.clean.logits, as_asked(np.array([self.label]), np.array([ANY_OTHER])))
            norm = float(np.linalg.norm(self.victim.gradient(self.image, cotangents).astype(np.float64)))
            if norm == 0:
                warning = (
                    f"member {member.name}: its gradient at the clean image is 0: a gradient attack is blind to it"
                )
                self.warnings.append(warning)
            norms.append(round(norm, 6))
        return norms

    def _described(self) -> Attack:
        chosen = self.chosen
        return Attack(
            name=chosen.attack,
            norm=chosen.norm,
            eps=chosen.eps,
            steps=chosen.steps,
            step_size=chosen.schedule.step_size if chosen.climbs else None,
            restarts=chosen.restarts,
            random_start=chosen.schedule.random_start if chosen.climbs else chosen.only_asks,
            label=self.label,
            target=chosen.target,
            seed=chosen.seed,
            budget_ms=chosen.budget_ms,
            losses=self.losses,
            halved_at=self._halve_at,
        )
