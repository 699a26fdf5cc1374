"""DeepFool: the nearest border by straight lines, again and again (Moosavi-Dezfooli et al., arXiv 1511.04599)."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.attacks.linear_vote import LinearVote
from robustness.attacks.smallest import Smallest
from robustness.attacks.vote_margin import Logits, Voters, voters_of
from robustness.norms import NormName
from robustness.victim import Array, Victim

NUDGE = 1e-4
"""Added to each step's length, as the paper's own code does: on the border nothing has been decided yet."""
DOUBLED_AFTER = 10
"""Steps are twice as long after so many, and again: of a member that rounds, slopes promise more than they keep."""

MOST_BYTES = 2**27
"""Of the slopes that are held at once, those of every voter to every class: a group of images that fits into it."""


@dataclass(frozen=True)
class DeepFool:
    """Steps to where the vote would turn if every member's margins were linear, until the served vote does.

    candidates: only so many classes, the likeliest of the image itself, are aimed at. overshoot: share by which the
    whole way is lengthened. member: attack the plain logits of that member alone. What falls beyond eps is not found.
    """

    norm: NormName = "l2"
    eps: float | None = None
    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 9
    member: str | None = None

    threat_model: ClassVar[ThreatModel] = "white-box"

    @property
    def name(self) -> str:
        return "deepfool" if self.member is None else f"deepfool-{self.member}"

    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """Nothing in it is random."""
        voters, smallest = voters_of(victim, self.member), Smallest(images, self.norm, self.eps)
        slopes = victim.n_members * self.candidates * images.itemsize * math.prod(images.shape[1:])
        most = max(1, MOST_BYTES // slopes)
        for start in range(0, len(images), most):
            if start > 0 and out_of_time():
                break
            rows = np.arange(start, min(start + most, len(images)))
            self._walk(victim, voters, images, labels, rows, smallest, out_of_time)
        return smallest.found()

    def _walk(
        self,
        victim: Victim,
        voters: Voters,
        images: Array,
        labels: Labels,
        rows: NDArray[np.intp],
        smallest: Smallest,
        out_of_time: OutOfTime,
    ) -> None:
        """Offer what falls of these rows."""
        way, classes = np.zeros_like(images[rows]), None
        for step in range(self.steps + 1):
            clean = images[rows]
            adversarial = (clean + np.float32(1 + self.overshoot) * way).clip(0, 1) if step else clean
            prediction = victim.predict(adversarial)
            fell = prediction.verdict != labels[rows]
            smallest.offer(rows[fell], adversarial[fell], step)
            if fell.all() or step == self.steps or out_of_time():
                break
            rows, way, adversarial, logits = rows[~fell], way[~fell], adversarial[~fell], prediction.logits[:, ~fell]
            classes = self._likeliest(voters, logits, labels[rows]) if classes is None else classes[~fell]
            vote = linearised(victim, voters, adversarial, logits, labels[rows], classes)
            way += 2 ** (step // DOUBLED_AFTER) * vote.step(voters.groups, self.norm, NUDGE)

    def _likeliest(self, voters: Voters, logits: Logits, labels: Labels) -> NDArray[np.intp]:
        """The classes to aim at, [B, T], likeliest first."""
        likely = voters.margins(logits).mean(axis=0)
        likely[np.arange(len(labels)), labels] = -np.inf
        return np.argsort(-likely, axis=1, kind="stable")[:, : min(self.candidates, likely.shape[1] - 1)]


def linearised(
    victim: Victim, voters: Voters, images: Array, logits: Logits, labels: Labels, classes: NDArray[np.intp]
) -> LinearVote:
    """Every voter's margins to the `classes` [B, T], and their gradients, at images [B, C, H, W] with these logits."""
    margins = voters.margins(logits)
    n_voters, count, n_classes = margins.shape
    n_aims = classes.shape[1]
    source, aim = np.repeat(np.arange(count), n_aims), classes.ravel()
    slopes = []
    for voter in range(n_voters):
        weights = np.zeros((n_voters, len(source), n_classes))
        weights[voter, np.arange(len(source)), aim] = 1
        cotangents = voters.cotangents(logits[:, source], weights)
        slopes.append(victim.gradient(images[source], cotangents).reshape(count, n_aims, *images.shape[1:]))
    away = margins[:, np.arange(count), labels] < 0
    return LinearVote(np.take_along_axis(margins, classes[None], axis=2), np.stack(slopes), away)
