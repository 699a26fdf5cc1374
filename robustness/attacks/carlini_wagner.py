"""CW-L2: the smallest change in the Euclidean norm, by Adam in tanh space (Carlini & Wagner, arXiv 1608.04644)."""

from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.attacks.smallest import Smallest
from robustness.attacks.vote_margin import Margins, Voters, smooth_vote_margin, vote_margin, voters_of
from robustness.victim import Array, Victim

MEAN_DECAY, SQUARE_DECAY, TINY = 0.9, 0.999, np.float32(1e-8)
"""Adam's own."""


@dataclass(frozen=True)
class CarliniWagner:
    """Minimises |x' - x|^2 + c max(0, confidence - margin) over images x', c found by bisection for each image.

    The margin is that of the vote, its gradient a smooth one that moves all voters who matter, or that of the plain
    logits of one `member`. With `transfer` that member alone also judges what succeeds, and the vote is asked only
    about the smallest change found: an attacker who does not know the ensemble. With the member `fp32`,
    search_steps 1, c 10, learning_rate 0.1, 50 steps and inside 0.999999 that is the paper's attack.

    eps: an image is left alone as soon as it falls within this L2 distance; None looks for the smallest to the end.
    inside: images are moved towards grey by this factor, so that the arctanh of black and white is finite. With the
    original's 0.999999 black pixels, of which a digit has most, take some 70 of Adam's steps before they are seen to
    move; 0.999 adds 0.01 to the distance of a digit at the start, and it falls sooner and nearer.
    """

    eps: float | None = None
    search_steps: int = 6
    steps: int = 200
    learning_rate: float = 0.1
    c: float = 1.0
    confidence: float = 0.0
    smoothness: float = 2.0
    inside: float = 0.999
    member: str | None = None
    transfer: bool = False

    threat_model: ClassVar[ThreatModel] = "white-box"

    @property
    def name(self) -> str:
        return "cw-l2" if self.member is None else f"cw-l2-{self.member}"

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
        voters = voters_of(victim, self.member)
        smallest = Smallest(images, "l2", self.eps)
        wrong = np.flatnonzero(victim.predict(images).verdict != labels)
        smallest.offer(wrong, images[wrong], 0)
        c, low, high = (np.full(len(images), value) for value in (self.c, 0.0, np.inf))
        for search in range(self.search_steps):
            if out_of_time() or not smallest.open.any():
                break
            fell = np.zeros(len(images), dtype=bool)
            for step, (rows, adversarial) in enumerate(self._descend(victim, voters, images, labels, c, smallest)):
                fell[rows] = True
                smallest.offer(rows, adversarial, search * self.steps + step)
                if out_of_time():
                    break
            high, low = np.where(fell, c, high), np.where(fell, low, c)
            c = np.where(np.isinf(high), 10 * c, (low + high) / 2)
        return _confirmed(victim, labels, smallest.found()) if self.transfer else smallest.found()

    def _descend(
        self, victim: Victim, voters: Voters, images: Array, labels: Labels, c: Margins, smallest: Smallest
    ) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """Adam from the images themselves; before each step, and after the last, which rows fall, and their images."""
        rows = np.flatnonzero(smallest.open)
        path = TanhPath(images[rows], self.learning_rate, self.inside)
        for step in range(self.steps + 1):
            prediction = victim.predict(path.image)
            margins = voters.margins(prediction.logits)
            margin = vote_margin(margins, labels[rows], voters.groups)
            fell = margin > 0 if self.transfer else prediction.verdict != labels[rows]
            if self.confidence > 0:
                fell &= margin >= self.confidence
            yield rows[fell], path.image[fell]
            if step == self.steps:
                break
            _, weights = smooth_vote_margin(margins, labels[rows], voters.groups, self.smoothness)
            weights *= np.where(margin < self.confidence, c[rows], 0)[None, :, None]
            path.step(victim.gradient(path.image, voters.cotangents(prediction.logits, weights)))
            path, rows = path.where(smallest.open[rows]), rows[smallest.open[rows]]
            if not len(rows):
                break


class TanhPath:
    """Images [B, C, H, W] = (tanh(w) + 1) / 2 on their way, by Adam (Kingma & Ba, arXiv 1412.6980)."""

    def __init__(self, images: Array, learning_rate: float, inside: float) -> None:
        self._clean, self._rate, self._time = images, np.float32(learning_rate), 0
        self._w = np.arctanh((2 * images - 1) * np.float32(inside))
        self._mean, self._square = np.zeros_like(images), np.zeros_like(images)

    @property
    def image(self) -> Array:
        image: Array = (np.tanh(self._w) + 1) / 2
        return image

    def step(self, gradient: Array) -> None:
        """One step down |x' - x|^2 less the function of the image that has this `gradient`."""
        image = self.image
        slope = (2 * (image - self._clean) - gradient) * (2 * image * (1 - image))
        self._time += 1
        self._mean += (1 - MEAN_DECAY) * (slope - self._mean)
        self._square += (1 - SQUARE_DECAY) * (np.square(slope) - self._square)
        mean = self._mean / (1 - MEAN_DECAY**self._time)
        square = self._square / (1 - SQUARE_DECAY**self._time)
        self._w = self._w - self._rate * mean / (np.sqrt(square) + TINY)

    def where(self, keep: NDArray[np.bool_]) -> "TanhPath":
        """The path of some of the images."""
        if keep.all():
            return self
        part = copy(self)
        part._clean, part._w = self._clean[keep], self._w[keep]
        part._mean, part._square = self._mean[keep], self._square[keep]
        return part


def _confirmed(victim: Victim, labels: Labels, found: dict[int, Found]) -> dict[int, Found]:
    """Those that the vote falls for."""
    if not found:
        return {}
    sources = list(found)
    verdict = victim.predict(np.stack([each.image for each in found.values()])).verdict
    return {source: found[source] for source in np.array(sources)[verdict != labels[sources]].tolist()}
