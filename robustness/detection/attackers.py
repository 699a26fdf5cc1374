"""The detector attacked by one who knows of no ensemble, by one who knows the vote, and by one who knows it too."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Labels
from robustness.attacks.climb import Schedule
from robustness.attacks.gradient import GradientAttack
from robustness.detection.auroc import auroc_interval
from robustness.detection.detection_report import Attacker, AttackerRow, DetectionReport, Way
from robustness.detection.score_gradients import score_cotangents
from robustness.detection.trajectory import last_of, random_start, trajectory
from robustness.losses.goals import ANY_OTHER, Goals, as_asked
from robustness.losses.loss_names import ALONE, make_loss
from robustness.losses.over_members import Cotangents, Logits, Loss, Values
from robustness.reporting.share import Share
from robustness.victim import Array, Victim
from runtime.auroc import auroc
from runtime.detection import Floats, Scorer
from runtime.errors import InvalidValue
from runtime.manifest import Detection, Manifest
from runtime.vote import NO_VOTE

VOTE_LOSS = "joint_margin"
AWAY_LOSSES = ("mean_probability", "mean_log_probability", "mean_margin")
"""Of all members, away from the label: of an attacker who goes on when the vote has fallen."""
EVADING_LOSSES = (VOTE_LOSS, "targeted_log_probability")
"""The second draws all members to the class, and not just as many as a majority needs: it hides better."""
EVADING = " and ".join(f"{loss} + lambda (threshold - score)" for loss in EVADING_LOSSES)
FIRST, LAST, LOWEST = "first turned iterate", "last iterate", "turned iterate of lowest score"
LAMBDAS = (0.0, 0.3, 1.0)
CHUNK = 64
"""Images attacked together."""


@dataclass(frozen=True)
class Turned:
    """Images whose verdict an attacker has turned: their indices [A], and the score of what is kept of each, [A]."""

    source: NDArray[np.intp]
    scores: Floats


@dataclass(frozen=True)
class Aware:
    """What one who knows the vote turned, by loss and iterate kept, and an adversarial image of each by its index."""

    ways: dict[tuple[str, str], Turned]
    found: dict[int, Array]


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

    def report(
        self,
        images: Array,
        labels: Labels,
        seed: int = 0,
        *,
        clean: Array | None = None,
        known_first: int | None = None,
    ) -> DetectionReport:
        """Attack those of `images` float32 [N, C, H, W], classes `labels` [N], whose verdict is right.

        A turned image is compared with all of `clean`, or without these with all of `images`; if the first
        `known_first` were chosen because they fall, clean ones must not be. What an attacker finds for an image depends
        on the seed and the images before it in its chunk of 64.
        """
        scores, right = self._clean(images, labels)
        scores = scores if clean is None else self._clean(clean, np.zeros(len(clean), np.int64))[0]
        turned: dict[Attacker, dict[tuple[str, str], list[Turned]]]
        turned = {"unaware": {}, "vote-aware": {}, "detector-aware": {}}
        chosen = np.flatnonzero(right)
        for number, start in enumerate(range(0, len(chosen), CHUNK)):
            rows, generator = chosen[start : start + CHUNK], np.random.default_rng([seed, number])
            unaware = self.unaware(images[rows], labels[rows], generator)
            aware = self.vote_aware(images[rows], labels[rows], generator)
            hidden = self.detector_aware(images[rows], labels[rows], aware.found)
            ways = {"unaware": {(self._alone, LAST): unaware}, "detector-aware": {(EVADING, LOWEST): hidden}}
            for attacker, parts in turned.items():
                for way, part in (aware.ways if attacker == "vote-aware" else ways[attacker]).items():
                    parts.setdefault(way, []).append(part)
        return DetectionReport(
            score=self.detection.score,
            threshold=self.detection.threshold,
            threshold_images=self.detection.images,
            members=list(self.detection.members),
            seed=seed,
            known_first=known_first,
            clean_false_alarms=Share.of(int((scores > self.detection.threshold).sum()), len(scores)),
            attackers=[self._row(name, len(chosen), parts, scores) for name, parts in turned.items() if parts],
        )

    def unaware(self, images: Array, labels: Labels, generator: np.random.Generator) -> Turned:
        """PGD on the full-precision member alone, all steps of it, whatever the others say; its last iterate."""
        return self._to_the_end(self._alone, images, random_start(images, self.schedule, generator), labels)[0]

    def vote_aware(self, images: Array, labels: Labels, generator: np.random.Generator) -> Aware:
        """PGD on the joint margin to where the vote falls, from there to the end, and on other losses to the end.

        Where the vote falls the members are farthest apart, and most easily seen.
        """
        attack = GradientAttack("pgd", VOTE_LOSS, self.schedule, most_classes=self.most_classes)
        found = {source: each.image for source, each in attack.run(self.victim, images, labels, generator).items()}
        source, ways = np.array(list(found), dtype=np.intp), {}
        ways[VOTE_LOSS, FIRST] = ways[VOTE_LOSS, LAST] = Turned(source, np.empty(0))
        if found:
            start = np.stack(list(found.values()))
            prediction = self.victim.predict(start)
            ways[VOTE_LOSS, FIRST] = Turned(source, self.scorer.ranking(prediction))
            towards = np.where(prediction.verdict == NO_VOTE, ANY_OTHER, prediction.verdict)
            last = self._to_the_end(VOTE_LOSS, images[source], start, labels[source], towards)[0]
            ways[VOTE_LOSS, LAST] = Turned(source[last.source], last.scores)
        for loss in AWAY_LOSSES:
            start = random_start(images, self.schedule, generator)
            ways[loss, LAST], iterates = self._to_the_end(loss, images, start, labels)
            found |= {int(row): iterates[row] for row in ways[loss, LAST].source if int(row) not in found}
        return Aware(ways, found)

    def _to_the_end(
        self, loss: str, images: Array, start: Array, labels: Labels, targets: Labels | None = None
    ) -> tuple[Turned, Array]:
        """What the last iterates turn, and these, [N, C, H, W]."""
        goals = as_asked(labels, np.full(len(labels), ANY_OTHER) if targets is None else targets)
        climbed = make_loss(loss, self.victim).loss
        iterates, last = last_of(trajectory(self.victim, images, start, goals, climbed, self.schedule))
        turned = np.flatnonzero(last.verdict != labels)
        return Turned(turned, self.scorer.ranking(last)[turned]), iterates

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
        verdict = self.victim.predict(start).verdict
        goals = Goals(np.arange(len(source)), labels[source], np.where(verdict == NO_VOTE, ANY_OTHER, verdict))
        for vote_loss, weight in product(EVADING_LOSSES, self.lambdas):
            evading = self._evading(vote_loss, weight)
            for _, prediction in trajectory(self.victim, images[source], start, goals, evading, self.schedule):
                scores = np.where(prediction.verdict != goals.label, self.scorer.ranking(prediction), np.inf)
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

    def _clean(self, images: Array, labels: Labels) -> tuple[Floats, NDArray[np.bool_]]:
        predictions = [self.victim.predict(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
        verdicts = np.concatenate([prediction.verdict for prediction in predictions])
        return np.concatenate([self.scorer.ranking(prediction) for prediction in predictions]), verdicts == labels

    @property
    def _alone(self) -> str:
        """The loss of the first full-precision member alone; without one that of the first member."""
        members = self.victim.ensemble.members
        return ALONE + next((member.name for member in members if member.precision.is_float), members[0].name)

    def _row(
        self, name: Attacker, attacked: int, ways: dict[tuple[str, str], list[Turned]], clean: Floats
    ) -> AttackerRow:
        scores = {way: np.concatenate([np.empty(0), *(part.scores for part in parts)]) for way, parts in ways.items()}
        told = [self._way(*way, each, clean) for way, each in scores.items()]
        strongest = strongest_of(told)
        own: dict[Attacker, dict[str, Any]] = {
            "unaware": {},
            "vote-aware": {"most_classes": self.most_classes} if strongest.loss == VOTE_LOSS else {},
            "detector-aware": {
                "lambdas": list(self.lambdas),
                "starts": "the vote-aware attacker's images",
            },
        }
        return AttackerRow(
            attacker=name,
            attacked=attacked,
            succeeded=strongest.succeeded,
            auroc=strongest.auroc,
            interval=strongest.interval,
            detected=strongest.detected,
            parameters={**asdict(self.schedule), **own[name], "loss": strongest.loss, "keeps": strongest.keeps},
            ways=told,
        )

    def _way(self, loss: str, keeps: str, scores: Floats, clean: Floats) -> Way:
        area = auroc(scores, clean)
        limits = None if area is None else auroc_interval(area, len(scores), len(clean))
        return Way(
            loss=loss,
            keeps=keeps,
            succeeded=len(scores),
            auroc=None if area is None else round(area, 6),
            interval=None if limits is None else (round(limits[0], 6), round(limits[1], 6)),
            detected=Share.of(int((scores > self.detection.threshold).sum()), len(scores)),
        )


def strongest_of(ways: list[Way]) -> Way:
    """The way with the lowest area, of those that turn at least half as many images as the one that turns most."""
    most = max(way.succeeded for way in ways)
    return min(
        (way for way in ways if 2 * way.succeeded >= most), key=lambda way: 1 if way.auroc is None else way.auroc
    )
