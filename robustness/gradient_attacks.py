"""The gradient attacks: one loop, of which FGSM and PGD are settings.

FGSM: Goodfellow et al., arXiv 1412.6572. PGD: Madry et al., arXiv 1706.06083.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness.goals import ANY_OTHER, Goals
from robustness.losses import Loss, Values
from robustness.norms import NORMS, NormName
from robustness.victim import Array, Victim


@dataclass(frozen=True)
class Schedule:
    """How an attack moves: eps and step_size in units of pixels in [0, 1]."""

    norm: NormName
    eps: float
    steps: int
    step_size: float
    random_start: bool


@dataclass(frozen=True)
class Found:
    """An adversarial image [C, H, W] for the image `source`, as the served graphs judged it."""

    source: int
    image: Array
    step: int


def climb(
    victim: Victim,
    images: Array,
    goals: Goals,
    loss: Loss,
    schedule: Schedule,
    generator: np.random.Generator,
    *,
    halve_at: Collection[int] = (),
    out_of_time: Callable[[], bool] = lambda: False,
) -> dict[int, Found]:
    """Climb `loss` from `images` [N, C, H, W], a trajectory for each goal; the first success of each image, by index.

    Success is judged by the served member graphs and their vote at every iterate, the start included. All trajectories
    of an image stop at its first success, and everything stops when `out_of_time()`. At the steps `halve_at` only the
    half of each image's trajectories with the largest loss goes on.
    """
    norm, eps = NORMS[schedule.norm], schedule.eps
    clean = images[goals.source]
    perturbation = norm.random(clean.shape, eps, generator) if schedule.random_start else np.zeros_like(clean)
    found: dict[int, Found] = {}
    for step in range(schedule.steps + 1):
        adversarial = (clean + norm.project(perturbation, eps)).clip(0, 1)
        prediction = victim.predict(adversarial)
        for row in np.flatnonzero(succeeded(prediction.verdict, goals)):
            found.setdefault(int(goals.source[row]), Found(int(goals.source[row]), adversarial[row], step))
        open_rows = ~np.isin(goals.source, list(found))
        if step == schedule.steps or not open_rows.any() or out_of_time():
            break
        goals, clean, adversarial = goals.where(open_rows), clean[open_rows], adversarial[open_rows]
        values, cotangents = loss(prediction.logits[:, open_rows], goals)
        if step in halve_at:
            best = _larger_half(values, goals.source)
            goals, clean, adversarial, cotangents = (
                goals.where(best),
                clean[best],
                adversarial[best],
                cotangents[:, best],
            )
        direction = norm.steepest(victim.gradient(adversarial, cotangents))
        perturbation = adversarial + np.float32(schedule.step_size) * direction - clean
    return found


def succeeded(verdict: NDArray[np.int64], goals: Goals) -> NDArray[np.bool_]:
    """Whether the verdict [B] is what the attack wants: the target, or anything but the label (no verdict included)."""
    wanted: NDArray[np.bool_] = np.where(goals.target == ANY_OTHER, verdict != goals.label, verdict == goals.target)
    return wanted


def _larger_half(values: Values, source: NDArray[np.intp]) -> NDArray[np.bool_]:
    """The rows [B] that are among the larger half, rounded up, of the values of their image."""
    keep = np.zeros(len(values), dtype=bool)
    for image in np.unique(source):
        rows = np.flatnonzero(source == image)
        keep[rows[np.argsort(-values[rows], kind="stable")[: (len(rows) + 1) // 2]]] = True
    return keep
