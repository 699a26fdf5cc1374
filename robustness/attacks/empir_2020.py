"""FGSM, BIM and PGD as the paper ran them on its ensemble, for comparison; an attacker today would use others.

Sen et al. (ICLR 2020), by their public code. The labels attacked are the model's own predictions. With `member` the
gradient is that of this member alone (so it was, by a name collision, for BIM); without, that of the mean probability
of the members that agree with the current vote, with softmax applied to it once more.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.norms import NORMS
from robustness.victim import Array, Victim
from runtime.prediction import Prediction
from runtime.vote import softmax


@dataclass(frozen=True)
class Empir2020:
    """Signed steps down the log probability of the labels; what is found is the last iterate, whatever its verdict."""

    kind: str
    eps: float
    steps: int
    step_size: float
    random_start: bool
    member: str | None = None

    threat_model: ClassVar[ThreatModel] = "white-box"

    @property
    def name(self) -> str:
        return f"empir-2020-{self.kind}"

    def parameters(self) -> dict[str, Any]:
        loss = "softmax of the mean probability of the members that agree with the vote, cross entropy"
        if self.member is not None:
            loss = f"cross entropy of {self.member} alone"
        return {**asdict(self), "norm": "linf", "loss": loss, "labels": "the verdicts on the clean images"}

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """`labels` should be the clean verdicts. The last iterate of every image is found, adversarial or not."""
        norm, iterate = NORMS["linf"], images
        if self.random_start:
            iterate = (images + norm.random(images.shape, self.eps, generator)).clip(0, 1)
        for _ in range(self.steps):
            gradient = victim.gradient(iterate, self._cotangents(victim, victim.predict(iterate), labels))
            ahead = (iterate + np.float32(self.step_size) * np.sign(gradient)).clip(0, 1)
            iterate = (images + norm.project(ahead - images, self.eps)).clip(0, 1)
            if out_of_time():
                break
        return {row: Found(row, iterate[row], self.steps) for row in range(len(images))}

    def _cotangents(self, victim: Victim, prediction: Prediction, labels: Labels) -> Array:
        """d(loss)/d(logits) [M, B, K] in float32, as there: where it underflows, the attack stands still."""
        probs = softmax(prediction.logits, np.float32(1))
        wanted = np.eye(probs.shape[2], dtype=np.float32)[labels]
        if self.member is not None:
            names = [member.name for member in victim.ensemble.members]
            cotangents = np.zeros_like(probs)
            index = names.index(self.member)
            cotangents[index] = probs[index] - wanted
            return cotangents
        agreeing = (prediction.votes == prediction.verdict).astype(np.float32)
        share = agreeing / np.maximum(agreeing.sum(axis=0), 1)
        mean = (share[:, :, None] * probs).sum(axis=0)
        slope = share[:, :, None] * (softmax(mean, np.float32(1)) - wanted)
        inner: Array = probs * (slope - (slope * probs).sum(axis=2, keepdims=True))
        return inner
