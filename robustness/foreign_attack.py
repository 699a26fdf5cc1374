"""A library's attack at work on the served ensemble: in batches, and judged by the served vote in the end."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from robustness.attacks.attack import Found, Labels, OutOfTime, never
from robustness.attacks.steppers import Ball
from robustness.norms import NORMS, NormName
from robustness.victim import Array, Victim

Batch = Callable[[Array, Labels], Array]
"""A library's attack: images and labels in, images out, adversarial or not."""


class ForeignAttack(ABC):
    """An Attack that a library carries out: subclasses, dataclasses with these fields, name it and make it ready.

    The libraries draw random numbers for a batch, so what is found for an image depends on the others, unlike with
    our own attacks.
    """

    logger: ClassVar[str]
    """Where the library says what it thinks of the victim."""

    norm: NormName
    eps: float
    batch_size: int

    @property
    @abstractmethod
    def name(self) -> str:
        """As Attack has it."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """As Attack has it."""

    @abstractmethod
    def ready(self, victim: Victim, seed: int) -> Batch:
        """The library's attack on this victim. Raises InvalidValue if they do not fit."""

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """As Attack has it; `out_of_time` is asked between batches, and the step of what a library finds is 1."""
        attack = self.ready(victim, int(generator.integers(2**31)))
        right = victim.predict(images).verdict == labels
        found = {row: Found(row, images[row], 0) for row in np.flatnonzero(~right).tolist()}
        rows = np.flatnonzero(right)
        for first in range(0, len(rows), self.batch_size):
            if out_of_time():
                break
            batch = rows[first : first + self.batch_size]
            inside = _inside(attack(images[batch], labels[batch]), images[batch], self.norm, self.eps)
            for place in np.flatnonzero(victim.predict(inside).verdict != labels[batch]).tolist():
                found[int(batch[place])] = Found(int(batch[place]), inside[place], 1)
        return found

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """What the library warns of meanwhile, such as points with zero gradient, once each; it is logged as ever."""
        listener = _Listener(logging.WARNING)
        logging.getLogger(self.logger).addHandler(listener)
        try:
            yield listener.said
        finally:
            logging.getLogger(self.logger).removeHandler(listener)


def _inside(adversarial: Array, images: Array, norm: NormName, eps: float) -> Array:
    """The libraries end a rounding error outside the ball, or, where they minimise a norm, far from it."""
    outside = NORMS[norm].size(adversarial - images) > eps
    projected = Ball(NORMS[norm], eps, images).project(adversarial)
    return np.where(outside[:, None, None, None], projected, adversarial.clip(0, 1))


class _Listener(logging.Handler):
    """Keeps each message once."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() not in self.said:
            self.said.append(record.getMessage())
