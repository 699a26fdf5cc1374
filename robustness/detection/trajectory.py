"""A climb that stops for nothing: every iterate, and what the served graphs say of it."""

from collections.abc import Iterator

import numpy as np

from robustness.attacks.climb import Schedule
from robustness.attacks.steppers import STEPPERS, Ball
from robustness.losses.goals import Goals
from robustness.losses.over_members import Loss
from robustness.norms import NORMS
from robustness.victim import Array, Victim
from runtime.prediction import Prediction


def random_start(images: Array, schedule: Schedule, generator: np.random.Generator) -> Array:
    """Where a climb begins: at the images [N, C, H, W], or drawn from their balls if the schedule says so."""
    if not schedule.random_start:
        return images
    return Ball(NORMS[schedule.norm], schedule.eps, images).random(generator)


def trajectory(
    victim: Victim, images: Array, start: Array, goals: Goals, loss: Loss, schedule: Schedule
) -> Iterator[tuple[Array, Prediction]]:
    """Every iterate [N, C, H, W] of a climb of `loss` in the ball around `images`, `start` and the last included."""
    ball = Ball(NORMS[schedule.norm], schedule.eps, images)
    stepper = STEPPERS[schedule.stepper](schedule.steps, schedule.step_size, schedule.decay)
    iterate = start
    for step in range(schedule.steps + 1):
        prediction = victim.predict(iterate)
        yield iterate, prediction
        if step < schedule.steps:
            values, cotangents = loss(prediction.logits, goals)
            iterate = stepper.next(iterate, values, victim.gradient(iterate, cotangents), ball)


def last_of(steps: Iterator[tuple[Array, Prediction]]) -> tuple[Array, Prediction]:
    """The last iterate of a trajectory."""
    *_, last = steps
    return last
