"""Square: random squares, kept where they help; no gradients (Andriushchenko et al., arXiv 1912.00049)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.attacks.squares import WINDOWS, Draws
from robustness.attacks.vote_margin import smooth_vote_margin, voters_of
from robustness.norms import NormName
from robustness.victim import Array, Victim

Values = NDArray[np.float64]
Rows = NDArray[np.intp]

HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After so many of 10,000 queries the squares' share of the image is halved (section 4.1 of the paper)."""
DRAWN_AHEAD = 100


@dataclass(frozen=True)
class Square:
    """Climbs the margin of the vote with `queries` squares for each image, from stripes (linf) or tiles (l2).

    p: share of the image that the first squares cover. The margin is taken from the members' logits over temperature,
    which are their log probs; `smoothness` makes it rise with every voter that could help.
    """

    norm: NormName
    eps: float
    queries: int = 5000
    p: float = 0.8
    smoothness: float = 2.0

    threat_model: ClassVar[ThreatModel] = "black-box-score"

    @property
    def name(self) -> str:
        return "square"

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
        """Each image has random numbers of its own."""
        window, search = WINDOWS[self.norm], _Search(victim, self.smoothness, images, labels)
        generators = generator.spawn(len(images))
        search.ask(images, 0, keep_all=True)
        if len(search.rows):
            search.ask(window.start(search.clean, self.eps, [generators[row] for row in search.rows]), 1, keep_all=True)
        draws = Draws(generators, images.shape[1], DRAWN_AHEAD)
        for query in range(self.queries):
            if out_of_time() or not len(search.rows):
                break
            side = self._side(query, images.shape[2:])
            search.ask(window.moved(search.clean, search.image, self.eps, side, draws.next(search.rows)), query + 2)
        return search.found

    def _side(self, query: int, shape: Sequence[int]) -> int:
        """Of a square that covers the share of the image planned for this query, as if there were 10,000."""
        planned = query * 10_000 // self.queries
        share = self.p / 2 ** sum(planned > each for each in HALVED_AT)
        return min(max(round(float(np.sqrt(share * shape[0] * shape[1]))), 1), *shape)


class _Search:
    """The images that have not fallen yet, `rows` of all, each with the best image so far and its margin."""

    def __init__(self, victim: Victim, smoothness: float, images: Array, labels: Labels) -> None:
        self._victim, self._voters, self._smoothness = victim, voters_of(victim), smoothness
        self._labels = labels
        self.rows: Rows = np.arange(len(images))
        self.clean, self.image = images, images
        self._value = np.full(len(images), -np.inf)
        self.found: dict[int, Found] = {}

    def ask(self, images: Array, step: int, *, keep_all: bool = False) -> None:
        """Ask what the vote says of `images`, one for each row; keep the better ones, or all, and drop the fallen."""
        prediction = self._victim.predict(images)
        labels = self._labels[self.rows]
        fell = prediction.verdict != labels
        for row in np.flatnonzero(fell).tolist():
            source = int(self.rows[row])
            self.found[source] = Found(source, images[row], step)
        margins = self._voters.margins(prediction.logits)
        value, _ = smooth_vote_margin(margins, labels, self._voters.groups, self._smoothness)
        better = (value > self._value) | keep_all
        image, value = np.where(better[:, None, None, None], images, self.image), np.where(better, value, self._value)
        self.rows, self.clean, self.image, self._value = (part[~fell] for part in (self.rows, self.clean, image, value))
