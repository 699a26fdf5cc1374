"""The detector attacked by one who knows of no ensemble, by one who knows the vote, and by one who knows it too."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Labels
from robustness.attacks.climb import Schedule
from robustness.attacks.gradient import GradientAttack
from robustness.attacks.steppers import STEPPERS, Ball
from robustness.detection.auroc import auroc
from robustness.detection.detection_report import Attacker, AttackerRow, DetectionReport
from robustness.detection.score_gradients import score_cotangents
from robustness.losses.goals import ANY_OTHER, Goals, as_asked
from robustness.losses.loss_names import ALONE, make_loss
from robustness.losses.over_members import Cotangents, Logits, Loss, Values
from robustness.norms import NORMS
from robustness.reporting.share import Share
from robustness.victim import Array, Victim
from runtime.detection import Floats, Scorer
from runtime.errors import InvalidValue
from runtime.manifest import Detection, Manifest
from runtime.prediction import Prediction
from runtime.vote import NO_VOTE

VOTE_LOSS = "joint_margin"
EVADING_LOSSES = (VOTE_LOSS, "targeted_log_probability")
"""The second draws all members to the class, and not just as many as a majority needs: it hides better."""
LAMBDAS = (0.0, 0.3, 1.0)
CHUNK = 64
"""Images attacked together."""


@dataclass(frozen=True)
class Turned:
    """Images whose verdict an attacker has turned: their indices [A], and the lowest score seen of each, [A]."""

    source: NDArray[np.intp]
    scores: Floats


@dataclass(frozen=True)
class DetectorUnderAttack:
    """A bundle's detector, its victim, and how the attackers move."""

    victim: Victim
    detection: Detection
    scorer: Scorer
    schedule: Schedule
    lambdas: tuple[float, ...] = LAMBDAS
    most_classes: int = 9

    @classmethod
    def of(cls, victim: Victim, manifest: Manifest, schedule: Schedule, **more: Any) -> "DetectorUnderAttack":
        """Raises InvalidValue if the bundle has no threshold, or a member no gradient graph."""
        detection = manifest.detection
        if detection is None:
            raise InvalidValue(
                f"{manifest.name}: expected a bundle with a detection threshold; `empir threshold` adds it"
            )
        victim.require_gradients()
        scorer = Scorer.of(manifest, detection.score, detection.members)
        return cls(victim, detection, scorer, schedule, **more)

    def report(self, images: Array, labels: Labels, seed: int = 0) -> DetectionReport:
        """Attack those of `images` float32 [N, C, H, W], classes `labels` [N], whose clean verdict is right.

        A turned image is compared with all clean ones. What an attacker finds for an image depends on the seed and
        the images before it in its chunk of 64.
        """
        scores, right = self._clean(images, labels)
        turned: dict[Attacker, list[Turned]] = {"unaware": [], "vote-aware": [], "detector-aware": []}
        chosen = np.flatnonzero(right)
        for number, start in enumerate(range(0, len(chosen), CHUNK)):
            rows, generator = chosen[start : start + CHUNK], np.random.default_rng([seed, number])
            turned["unaware"].append(self.unaware(images[rows], labels[rows], generator))
            aware, found = self.vote_aware(images[rows], labels[rows], generator)
            turned["vote-aware"].append(aware)
            turned["detector-aware"].append(self.detector_aware(images[rows], labels[rows], found))
        return DetectionReport(
            score=self.detection.score,
            threshold=self.detection.threshold,
            members=list(self.detection.members),
            seed=seed,
            clean_false_alarms=Share.of(int((scores > self.detection.threshold).sum()), len(scores)),
            attackers=[self._row(name, len(chosen), parts, scores) for name, parts in turned.items()],
        )

    def unaware(self, images: Array, labels: Labels, generator: np.random.Generator) -> Turned:
        """PGD on the full-precision member alone, all steps of it, whatever the others say; its last iterate."""
        ball = Ball(NORMS[self.schedule.norm], self.schedule.eps, images)
        start = images
        if self.schedule.random_start:
            start = ball.project(images + ball.norm.random(images.shape, ball.eps, generator))
        loss = make_loss(f"{ALONE}{self._attacked_alone}", self.victim).loss
        goals = as_asked(labels, np.full(len(labels), ANY_OTHER))
        *_, last = self._trajectory(start, ball, goals, loss)
        turned = np.flatnonzero(last.verdict != labels)
        return Turned(turned, self._scores(last)[turned])

    def vote_aware(
        self, images: Array, labels: Labels, generator: np.random.Generator
    ) -> tuple[Turned, dict[int, Array]]:
        """PGD on the joint margin, which stops where the vote falls; and the images [C, H, W] that it found."""
        attack = GradientAttack("pgd", VOTE_LOSS, self.schedule, most_classes=self.most_classes)
        found = {source: each.image for source, each in attack.run(self.victim, images, labels, generator).items()}
        if not found:
            return Turned(np.empty(0, np.intp), np.empty(0)), found
        prediction = self.victim.predict(np.stack(list(found.values())))
        return Turned(np.array(list(found)), self._scores(prediction)), found

    def detector_aware(self, images: Array, labels: Labels, found: dict[int, Array]) -> Turned:
        """From the images that turn the vote on: climb a loss of the vote + lambda (threshold - score), for several.

        The gradients of the two are scaled to a largest entry of 1 before they are added. Of each image the lowest
        score of any iterate that turns the vote is kept. An image whose vote is not turned is none for this attacker.
        """
        source = np.array(list(found), dtype=np.intp)
        best = np.full(len(source), np.inf)
        if len(source) == 0:
            return Turned(source, best)
        start = np.stack(list(found.values()))
        ball = Ball(NORMS[self.schedule.norm], self.schedule.eps, images[source])
        verdict = self.victim.predict(start).verdict
        goals = Goals(np.arange(len(source)), labels[source], np.where(verdict == NO_VOTE, ANY_OTHER, verdict))
        for vote_loss, weight in product(EVADING_LOSSES, self.lambdas):
            for prediction in self._trajectory(start, ball, goals, self._evading(vote_loss, weight)):
                scores = np.where(prediction.verdict != goals.label, self._scores(prediction), np.inf)
                best = np.minimum(best, scores)
        return Turned(source, best)

    def _evading(self, vote_loss: str, weight: float) -> Loss:
        """Loss of the vote + weight (threshold - score), each gradient scaled to a largest entry of 1."""
        turning = make_loss(vote_loss, self.victim).loss

        def loss(logits: Logits, goals: Goals) -> tuple[Values, Cotangents]:
            values, cotangents = turning(logits, goals)
            away = score_cotangents(self.detection.score, self.scorer, logits)
            hidden = self.detection.threshold - self.scorer.of_logits(logits)
            return values + weight * hidden, np.asarray(cotangents - weight * away, dtype=np.float32)

        return loss

    def _trajectory(self, start: Array, ball: Ball, goals: Goals, loss: Loss) -> Iterator[Prediction]:
        """What the served graphs say of every iterate of a climb from `start`, the start included."""
        schedule = self.schedule
        stepper = STEPPERS[schedule.stepper](schedule.steps, schedule.step_size, schedule.decay)
        iterate = start
        for step in range(schedule.steps + 1):
            prediction = self.victim.predict(iterate)
            yield prediction
            if step < schedule.steps:
                values, cotangents = loss(prediction.logits, goals)
                iterate = stepper.next(iterate, values, self.victim.gradient(iterate, cotangents), ball)

    def _scores(self, prediction: Prediction) -> Floats:
        """The score of each image [N]; minus infinity where none can be told: it raises no alarm."""
        scores = self.scorer(prediction)
        return np.where(np.isnan(scores), -np.inf, scores)

    def _clean(self, images: Array, labels: Labels) -> tuple[Floats, NDArray[np.bool_]]:
        predictions = [self.victim.predict(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
        verdicts = np.concatenate([prediction.verdict for prediction in predictions])
        return np.concatenate([self._scores(prediction) for prediction in predictions]), verdicts == labels

    @property
    def _attacked_alone(self) -> str:
        """The first full-precision member's name; without one the first member's."""
        members = self.victim.ensemble.members
        return next((member.name for member in members if member.precision.is_float), members[0].name)

    def _row(self, name: Attacker, attacked: int, parts: list[Turned], clean: Floats) -> AttackerRow:
        scores = np.concatenate([np.empty(0), *(part.scores for part in parts)])
        area = auroc(scores, clean)
        own: dict[Attacker, dict[str, Any]] = {
            "unaware": {"loss": f"{ALONE}{self._attacked_alone}", "keeps": "last iterate"},
            "vote-aware": {"loss": VOTE_LOSS, "most_classes": self.most_classes, "keeps": "first turned iterate"},
            "detector-aware": {
                "losses": [f"{loss} + lambda (threshold - score)" for loss in EVADING_LOSSES],
                "lambdas": list(self.lambdas),
                "starts": "the vote-aware attacker's images",
                "keeps": "turned iterate of lowest score",
            },
        }
        return AttackerRow(
            attacker=name,
            attacked=attacked,
            succeeded=len(scores),
            auroc=None if area is None else round(area, 6),
            detected=Share.of(int((scores > self.detection.threshold).sum()), len(scores)),
            parameters={**asdict(self.schedule), **own[name]},
        )
