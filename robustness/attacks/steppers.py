"""How a gradient attack moves from one iterate to the next.

The steepest step: FGSM, Goodfellow et al., arXiv 1412.6572; BIM, Kurakin et al., arXiv 1607.02533; PGD, Madry et al.,
arXiv 1706.06083; with decay MIM, Dong et al., arXiv 1710.06081. The adaptive one: APGD, Croce & Hein, arXiv 2003.01690.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robustness.norms import Norm
from robustness.victim import Array

StepperName = Literal["steepest", "adaptive"]
Rows = NDArray[np.intp]
Values = NDArray[np.float64]

KEPT_MOMENTUM = 0.25
RISES_WANTED = 0.75
TINY = np.float32(1e-30)


@dataclass(frozen=True)
class Ball:
    """Where the iterates of B trajectories may be: within eps of `clean` [B, C, H, W], and in [0, 1]."""

    norm: Norm
    eps: float
    clean: Array

    def project(self, images: Array) -> Array:
        inside: Array = (self.clean + self.norm.project(images - self.clean, self.eps)).clip(0, 1)
        return inside

    def random(self, generator: np.random.Generator) -> Array:
        """Images [B, C, H, W] drawn from it."""
        return self.project(self.clean + self.norm.random(self.clean.shape, self.eps, generator))

    def where(self, rows: Rows) -> "Ball":
        return Ball(self.norm, self.eps, self.clean[rows])


class Stepper(Protocol):
    """What the loop asks once for each step; a stepper keeps what it must remember of each trajectory."""

    def keep(self, rows: Rows) -> None:
        """Only these trajectories go on."""
        ...

    def next(self, iterate: Array, values: Values, gradient: Array, ball: Ball) -> Array:
        """The next iterate [B, C, H, W], inside the ball, from this one, its loss [B], and the loss's gradient."""
        ...


class Steepest:
    """A step of fixed length along the steepest direction of the gradient, or of its decaying sum."""

    def __init__(self, steps: int, step_size: float, decay: float = 0.0) -> None:
        self._step_size, self._decay = np.float32(step_size), np.float32(decay)
        self._sum: Array | None = None

    def keep(self, rows: Rows) -> None:
        if self._sum is not None:
            self._sum = self._sum[rows]

    def next(self, iterate: Array, values: Values, gradient: Array, ball: Ball) -> Array:
        if self._decay > 0:
            share = _of_size_1(gradient)
            gradient = self._sum = share if self._sum is None else self._decay * self._sum + share
        return ball.project(iterate + self._step_size * ball.norm.steepest(gradient))


class Adaptive:
    """APGD's steps: with momentum, and at checkpoints halved and taken up again from the best iterate, where the loss
    rose too seldom, or neither the best loss nor the step changed since the checkpoint before."""

    def __init__(self, steps: int, step_size: float, decay: float = 0.0) -> None:
        self._checkpoints = checkpoints(steps)
        self._first_size, self._step, self._window = step_size, 0, 0
        self._seen: _Seen | None = None

    def keep(self, rows: Rows) -> None:
        if self._seen is not None:
            self._seen = self._seen.where(rows)

    def next(self, iterate: Array, values: Values, gradient: Array, ball: Ball) -> Array:
        if self._seen is None:
            self._seen = _Seen.first(iterate, values, gradient, self._first_size)
            share = np.float32(1)
        else:
            self._seen.enter(iterate, values, gradient)
            share = np.float32(1 - KEPT_MOMENTUM)
        seen = self._seen
        if self._step in self._checkpoints:
            back = _wide(seen.check(self._step - self._window))
            iterate, gradient = np.where(back, seen.best, iterate), np.where(back, seen.best_gradient, gradient)
            self._window = self._step
        self._step += 1
        ahead = ball.project(iterate + _wide(seen.step_size).astype(np.float32) * ball.norm.steepest(gradient))
        momentum = np.float32(KEPT_MOMENTUM) * (iterate - seen.previous)
        seen.previous = iterate
        return ball.project(iterate + share * (ahead - iterate) + momentum)


@dataclass
class _Seen:
    """What APGD remembers of B trajectories; images are [B, C, H, W], the others [B]."""

    previous: Array
    best: Array
    best_gradient: Array
    best_value: Values
    last_value: Values
    rises: NDArray[np.int64]
    step_size: Values
    best_at_check: Values
    unchanged_size: NDArray[np.bool_]

    @classmethod
    def first(cls, iterate: Array, values: Values, gradient: Array, step_size: float) -> "_Seen":
        rises, sizes = np.zeros(len(values), np.int64), np.full(len(values), step_size)
        whole = np.ones(len(values), dtype=bool)
        return cls(iterate, iterate, gradient, values, values, rises, sizes, values, whole)

    def where(self, rows: Rows) -> "_Seen":
        return _Seen(*(array[rows] for array in vars(self).values()))

    def enter(self, iterate: Array, values: Values, gradient: Array) -> None:
        better = values > self.best_value
        self.best = np.where(_wide(better), iterate, self.best)
        self.best_gradient = np.where(_wide(better), gradient, self.best_gradient)
        self.best_value = np.where(better, values, self.best_value)
        self.rises = self.rises + (values > self.last_value)
        self.last_value = values

    def check(self, steps: int) -> NDArray[np.bool_]:
        """After so many steps since the last checkpoint: halve step sizes, and say for which trajectories [B]."""
        seldom = self.rises < RISES_WANTED * steps
        stuck = self.unchanged_size & (self.best_value == self.best_at_check)
        halved: NDArray[np.bool_] = seldom | stuck
        self.step_size = np.where(halved, self.step_size / 2, self.step_size)
        self.last_value = np.where(halved, self.best_value, self.last_value)
        self.rises, self.best_at_check, self.unchanged_size = np.zeros_like(self.rises), self.best_value, ~halved
        return halved


def checkpoints(steps: int) -> list[int]:
    """The steps after which APGD looks back (section 3 of the paper).

    >>> checkpoints(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounded first: 0.57 + 0.13 is a little more than 0.7.
    return [ceil(round(share * steps, 6)) for share in shares[1:-1]]


def _of_size_1(gradient: Array) -> Array:
    total = np.abs(gradient).sum(axis=(1, 2, 3), keepdims=True)
    scaled: Array = gradient / np.maximum(total, TINY)
    return scaled


def _wide(rows: NDArray[np.bool_] | Values) -> NDArray[np.bool_] | Values:
    return rows.reshape(-1, 1, 1, 1)


STEPPERS: dict[StepperName, Callable[[int, float, float], Stepper]] = {"steepest": Steepest, "adaptive": Adaptive}
