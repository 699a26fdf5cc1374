"""The loop of every gradient attack: climb a loss inside a ball, and ask the vote at every iterate."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness.attacks.attack import Found, OutOfTime, never
from robustness.attacks.steppers import STEPPERS, Ball, StepperName
from robustness.losses.goals import ANY_OTHER, Goals
from robustness.losses.over_members import Loss, Values
from robustness.norms import NORMS, NormName
from robustness.victim import Array, Victim

MOST_ROWS = 512
MOST_BYTES = 2**26
"""Trajectories, and bytes of one image for each of them, that are under way at once."""


@dataclass(frozen=True)
class Schedule:
    """How an attack moves: eps and step_size, the first one where the stepper adapts it, in units of pixels in [0, 1].

    decay: the share of the earlier gradients that each step keeps.
    """

    norm: NormName
    eps: float
    steps: int
    step_size: float
    random_start: bool
    stepper: StepperName = "steepest"
    decay: float = 0.0


def climb(
    victim: Victim,
    images: Array,
    goals: Goals,
    loss: Loss,
    schedule: Schedule,
    generator: np.random.Generator,
    *,
    halve_at: Collection[int] = (),
    out_of_time: OutOfTime = never,
) -> dict[int, Found]:
    """Climb `loss` from `images` [N, C, H, W], a trajectory for each goal; the first success of each image, by index.

    Success is judged by the served member graphs and their vote at every iterate, the start included. All trajectories
    of an image stop at its first success, and everything stops when `out_of_time()`. At the steps `halve_at` only the
    half of each image's trajectories that had the largest loss so far goes on. An image's random starts are its own,
    whatever other images there are.
    """
    generators = generator.spawn(len(images))
    found: dict[int, Found] = {}
    for number, rows in enumerate(_groups(goals, images)):
        if number > 0 and out_of_time():
            break
        part = goals.where(rows)
        start = images[part.source]
        if schedule.random_start:
            norm = NORMS[schedule.norm]
            drawn = [norm.random((1, *images.shape[1:]), schedule.eps, generators[source]) for source in part.source]
            start = Ball(norm, schedule.eps, start).project(start + np.concatenate(drawn))
        found |= _climb(victim, images, start, part, loss, schedule, halve_at, out_of_time)
    return found


def _climb(
    victim: Victim,
    images: Array,
    iterate: Array,
    goals: Goals,
    loss: Loss,
    schedule: Schedule,
    halve_at: Collection[int],
    out_of_time: OutOfTime,
) -> dict[int, Found]:
    ball = Ball(NORMS[schedule.norm], schedule.eps, images[goals.source])
    stepper = STEPPERS[schedule.stepper](schedule.steps, schedule.step_size, schedule.decay)
    found: dict[int, Found] = {}
    best = np.full(len(goals), -np.inf)
    for step in range(schedule.steps + 1):
        prediction = victim.predict(iterate)
        for row in np.flatnonzero(succeeded(prediction.verdict, goals)):
            found.setdefault(int(goals.source[row]), Found(int(goals.source[row]), iterate[row], step))
        rows = np.flatnonzero(~np.isin(goals.source, list(found)))
        if step == schedule.steps or len(rows) == 0 or out_of_time():
            break
        values, cotangents = loss(prediction.logits[:, rows], goals.where(rows))
        best = np.maximum(best[rows], values)
        if step in halve_at:
            kept = _larger_half(best, goals.source[rows])
            rows, values, cotangents, best = rows[kept], values[kept], cotangents[:, kept], best[kept]
        goals, ball, iterate = goals.where(rows), ball.where(rows), iterate[rows]
        stepper.keep(rows)
        iterate = stepper.next(iterate, values, victim.gradient(iterate, cotangents), ball)
    return found


def succeeded(verdict: NDArray[np.int64], goals: Goals) -> NDArray[np.bool_]:
    """Whether the verdict [B] is what the attack wants: the target, or anything but the label (no verdict included)."""
    wanted: NDArray[np.bool_] = np.where(goals.target == ANY_OTHER, verdict != goals.label, verdict == goals.target)
    return wanted


def _groups(goals: Goals, images: Array) -> Iterator[NDArray[np.intp]]:
    """The rows of goals in groups of whole images, each small enough to be under way at once."""
    most = max(1, min(MOST_ROWS, MOST_BYTES // images[:1].nbytes))
    group: list[NDArray[np.intp]] = []
    for source in np.unique(goals.source):
        rows = np.flatnonzero(goals.source == source)
        if group and sum(map(len, group)) + len(rows) > most:
            yield np.concatenate(group)
            group = []
        group.append(rows)
    if group:
        yield np.concatenate(group)


def _larger_half(values: Values, source: NDArray[np.intp]) -> NDArray[np.bool_]:
    """The rows [B] that are among the larger half, rounded up, of the values of their image."""
    keep = np.zeros(len(values), dtype=bool)
    for image in np.unique(source):
        rows = np.flatnonzero(source == image)
        keep[rows[np.argsort(-values[rows], kind="stable")[: (len(rows) + 1) // 2]]] = True
    return keep
