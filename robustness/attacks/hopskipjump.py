"""HopSkipJump: along the border of the vote by its verdicts alone (Chen, Jordan & Wainwright, arXiv 1904.02144)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, Labels, OutOfTime, ThreatModel, never
from robustness.attacks.smallest import Smallest
from robustness.norms import NORMS, NormName
from robustness.victim import Array, Victim

Values = NDArray[np.float64]
Rows = NDArray[np.intp]
Generators = Sequence[np.random.Generator]

MOST_BYTES = 2**23
"""Of images that are asked about at once: the time is looked at in between."""
HALVINGS = 25
"""Of a step that has left the border to the wrong side, before the image stays where it is."""


@dataclass(frozen=True)
class HopSkipJump:
    """From an adversarial image to the border, then again and again: estimate its direction, jump off, return to it.

    queries: at most so many verdicts for each image; first_queries of them for the first direction, and in the t-th
    step sqrt(t) times as many.
    starts: noises tried for each image, of grain 1, 2, 4, ... pixels; the nearest adversarial one is where it starts.
    start_images: images [S, C, H, W], such as those of other classes; the nearest with another verdict is where it
    starts if no noise is adversarial. Their verdicts are asked for once, for all images together.
    radius: of the ball in which a direction is asked for, as a share of the distance from the image. The paper's is
    1 / (C H W), in which members that round see no border.

    eps: an image is left alone as soon as it falls within it; None looks for the smallest change to the end.
    """

    norm: NormName = "l2"
    eps: float | None = None
    queries: int = 5000
    first_queries: int = 100
    radius: float = 0.1
    starts: int = 50
    start_images: Array | None = None

    threat_model: ClassVar[ThreatModel] = "black-box-label"

    @property
    def name(self) -> str:
        return "hopskipjump"

    def parameters(self) -> dict[str, Any]:
        return {
            "norm": self.norm,
            "eps": self.eps,
            "queries": self.queries,
            "first_queries": self.first_queries,
            "radius": self.radius,
            "starts": self.starts,
            "start_images": 0 if self.start_images is None else len(self.start_images),
        }

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """Each image has random numbers of its own. An image without an adversarial start is not found."""
        smallest = Smallest(images, self.norm, self.eps)
        with suppress(_OutOfTime):
            self._run(_Oracle(victim, labels, out_of_time), smallest, images, generator.spawn(len(images)))
        return smallest.found()

    def _run(self, oracle: "_Oracle", smallest: Smallest, images: Array, generators: Generators) -> None:
        for row, image in enumerate(images):
            self._start(oracle, smallest, row, image, generators[row])
        self._start_elsewhere(oracle, smallest, images)
        walk = _Walk(oracle, smallest, self.norm, self.radius, images, smallest.image.copy())
        started = np.isfinite(smallest.size)
        walk.to_the_border(np.flatnonzero(smallest.open & started), 0)
        for step in count(1):
            directions = int(self.first_queries * math.sqrt(step))
            affordable = oracle.asked + directions + HALVINGS + walk.halvings <= self.queries
            rows = np.flatnonzero(smallest.open & started & affordable)
            if not len(rows):
                break
            direction = np.stack([walk.direction(row, directions, generators[row]) for row in rows.tolist()])
            walk.jump(rows, direction, step)
            walk.to_the_border(rows, step)

    def _start(
        self, oracle: "_Oracle", smallest: Smallest, row: int, image: Array, generator: np.random.Generator
    ) -> None:
        """At the image itself if it is adversarial, else at the nearest adversarial noise."""
        starts = image[None]
        if not oracle.fallen(np.array([row]), starts)[0]:
            noises = np.stack(list(_noises(image.shape, self.starts, generator)))
            starts = noises[oracle.fallen(np.full(len(noises), row), noises)]
        self._offer_nearest(smallest, row, image, starts)

    def _start_elsewhere(self, oracle: "_Oracle", smallest: Smallest, images: Array) -> None:
        """What has no start yet, at the nearest of the images given whose verdict is another."""
        rows = np.flatnonzero(np.isinf(smallest.size))
        if self.start_images is None or not len(rows):
            return
        verdict = oracle.verdicts(self.start_images)
        for row in rows.tolist():
            self._offer_nearest(smallest, row, images[row], self.start_images[verdict != oracle.labels[row]])

    def _offer_nearest(self, smallest: Smallest, row: int, image: Array, starts: Array) -> None:
        if len(starts):
            nearest = NORMS[self.norm].size(starts - image).argmin()
            smallest.offer(np.array([row]), starts[nearest][None], 0)


class _OutOfTime(Exception):
    """The oracle answers no more."""


class _Oracle:
    """The verdict, and nothing else, as long as there is time."""

    def __init__(self, victim: Victim, labels: Labels, out_of_time: OutOfTime) -> None:
        self.labels = labels
        self._victim, self._out_of_time = victim, out_of_time
        self.asked = np.zeros(len(labels), dtype=int)

    def fallen(self, rows: Rows, images: Array) -> NDArray[np.bool_]:
        """Whether the verdict on each of `images` is not the label of the image in `rows`. Raises _OutOfTime."""
        fell: NDArray[np.bool_] = self.verdicts(images) != self.labels[rows]
        np.add.at(self.asked, rows, 1)
        return fell

    def verdicts(self, images: Array) -> Labels:
        """Those on images [B, C, H, W], counted for none in particular. Raises _OutOfTime."""
        verdicts = []
        for part in np.array_split(images, max(1, math.ceil(images.nbytes / MOST_BYTES))):
            if self._out_of_time():
                raise _OutOfTime
            verdicts.append(self._victim.predict(part).verdict)
        return np.concatenate(verdicts)


class _Walk:
    """Where the walk from each of the `clean` images is: `image`, adversarial wherever there was a start."""

    def __init__(
        self, oracle: _Oracle, smallest: Smallest, norm: NormName, radius: float, clean: Array, image: Array
    ) -> None:
        self._oracle, self._smallest, self._norm, self._radius = oracle, smallest, norm, radius
        self._clean, self._image = clean, image
        self._dimensions = math.prod(clean.shape[1:])
        # The border has to be nearer than a direction reaches: the paper's theta over its delta.
        fineness = self._dimensions if norm == "linf" else math.sqrt(self._dimensions)
        self.halvings = max(math.ceil(math.log2(fineness / radius)), 1)

    def to_the_border(self, rows: Rows, step: int) -> None:
        """Bisection between the clean image and where the walk is, which stays on the adversarial side."""
        if not len(rows):
            return
        clean, reached = self._clean[rows], self._image[rows]
        far, low, high = reached - clean, np.zeros(len(rows)), np.ones(len(rows))
        for _ in range(self.halvings):
            middle = (low + high) / 2
            between = (clean + self._share(far, middle)).clip(0, 1)
            fell = self._oracle.fallen(rows, between)
            reached[fell] = between[fell]
            low, high = np.where(fell, low, middle), np.where(fell, middle, high)
        self._image[rows] = reached
        self._smallest.offer(rows, reached, step)

    def direction(self, row: int, queries: int, generator: np.random.Generator) -> Array:
        """Estimated from `queries` verdicts about: where the vote falls (equation 16 of the paper), [C, H, W]."""
        image, size = self._image[row], self._distance(np.array([row]))[0]
        radius = np.float32(self._radius * size)
        fallen, total, fallen_total = 0, np.zeros_like(image), np.zeros_like(image)
        for part in self._parts(queries):
            noise = self._noise((part, *image.shape), generator)
            asked = (image + radius * noise).clip(0, 1)
            moved = (asked - image) / radius
            fell = self._oracle.fallen(np.full(part, row), asked)
            fallen += int(fell.sum())
            total += moved.sum(axis=0)
            fallen_total += moved[fell].sum(axis=0)
        share = fallen / queries
        # Less the mean verdict, which tells nothing, unless all verdicts are the same.
        estimate = 2 * (fallen_total - share * total) if 0 < share < 1 else (2 * share - 1) * total
        return np.asarray(NORMS[self._norm].steepest(estimate[None].astype(np.float32))[0])

    def jump(self, rows: Rows, direction: Array, step: int) -> None:
        """Along the direction as far as the distance over sqrt(step), or half of it and so on, staying adversarial."""
        length, waiting = self._distance(rows) / math.sqrt(step), np.ones(len(rows), dtype=bool)
        for _ in range(HALVINGS):
            some = np.flatnonzero(waiting)
            if not len(some):
                break
            scale = length[some].astype(np.float32)[:, None, None, None]
            landed = (self._image[rows[some]] + scale * direction[some]).clip(0, 1)
            fell = self._oracle.fallen(rows[some], landed)
            self._image[rows[some[fell]]] = landed[fell]
            waiting[some[fell]] = False
            length /= 2

    def _share(self, far: Array, share: Values) -> Array:
        """A share [B] of the way: of its length (l2), or cut off at that share of its largest entry (linf)."""
        if self._norm == "l2":
            return np.asarray(far * share.astype(np.float32)[:, None, None, None])
        limit = (share * NORMS["linf"].size(far)).astype(np.float32)[:, None, None, None]
        return far.clip(-limit, limit)

    def _noise(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        """Directions of Euclidean length 1, [B, C, H, W]."""
        if self._norm == "l2":
            return NORMS["l2"].steepest(generator.standard_normal(shape, dtype=np.float32))
        return NORMS["l2"].steepest(2 * generator.random(shape, dtype=np.float32) - 1)

    def _distance(self, rows: Rows) -> Values:
        return NORMS[self._norm].size(self._image[rows] - self._clean[rows])

    def _parts(self, queries: int) -> Iterator[int]:
        most = max(MOST_BYTES // (4 * self._dimensions), 1)
        for start in range(0, queries, most):
            yield min(most, queries - start)


def _noises(shape: tuple[int, ...], number: int, generator: np.random.Generator) -> Iterator[Array]:
    """Images of uniform noise in squares of 1, 2, 4, ... pixels, in turn."""
    channels, height, width = shape
    grains = [2**power for power in range(int(math.log2(min(height, width))) + 1)]
    for index in range(number):
        grain = grains[index % len(grains)]
        coarse = generator.random((channels, -(-height // grain), -(-width // grain)), dtype=np.float32)
        yield coarse.repeat(grain, axis=1).repeat(grain, axis=2)[:, :height, :width]
