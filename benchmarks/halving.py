"""What halving an attack's trajectories on the way costs in strength."""

import numpy as np

from benchmarks.context import Context
from benchmarks.figure import Figure
from robustness.attacks.climb import Schedule, climb
from robustness.losses.goals import ANY_OTHER, every_class
from robustness.losses.loss_names import make_loss
from robustness.probe import halving_steps
from robustness.victim import Victim

IMAGES = 60
STEPS = 40
RADII = (0.05, 0.1)
MOST_LOST = 2


def halving(context: Context) -> list[Figure]:
    """The joint margin, PGD-40, Linf, one start, seed 0, on the first test images: how many fall, with and without."""
    victim = Victim.of_bundle(context.bundle)
    images, classes = context.test.pixels(0, IMAGES), context.test.classes[:IMAGES]
    goals = every_class(classes, np.full(IMAGES, ANY_OTHER), victim.calibrated(victim.predict(images)))
    loss = make_loss("joint_margin", victim).loss
    figures = []
    for eps in RADII:
        schedule = Schedule("linf", eps, STEPS, 2.5 * eps / STEPS, random_start=True)
        whole, halved = (
            len(climb(victim, images, goals, loss, schedule, np.random.default_rng(0), halve_at=steps))
            for steps in ([], halving_steps(STEPS))
        )
        text = f"{halved} with, {whole} without (n = {IMAGES})"
        figures.append(Figure(f"images that fall, halved, eps {eps:g}", "within 2", text, whole - halved <= MOST_LOST))
    return figures
