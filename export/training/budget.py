"""A training's time on this machine, measured on a few steps, and the epochs that fit into a number of minutes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from export.data.examples import DataSet
from export.training.compute import Compute
from export.training.recipe import Recipe, Training
from export.training.state import Stage, TrainingState
from models.precision import Precision

STEPS = 3
"""Of which the first is not measured."""
MARGIN = 0.85
"""Of the minutes that are given; the rest goes into validation's surprises, graphs and their comparison."""


@dataclass(frozen=True)
class Pace:
    """Seconds that an epoch takes, validation included: of each member's training, from the start, by its name, and of
    its fine-tuning."""

    training: dict[str, float]
    fine_tuning: dict[str, float]

    def seconds(self, epochs: int, fine_tuning_epochs: int) -> float:
        """Of all members."""
        return epochs * sum(self.training.values()) + fine_tuning_epochs * sum(self.fine_tuning.values())


def measured_pace(recipe: Recipe, data: DataSet, clock: Callable[[], float] = time.perf_counter) -> Pace:
    """A few steps of each precision that the recipe trains, on images of `data`, on the device that trains it."""
    low = {m.name: Precision.parse(m.precision) for m in recipe.members if not Precision.parse(m.precision).is_float}
    full = Precision.parse("fp32")
    tuned = {} if recipe.fine_tuning is None else low
    starts = {m.name: full if m.name in tuned else Precision.parse(m.precision) for m in recipe.members}
    cache: dict[Precision, float] = {}

    def epoch(precision: Precision, training: Training) -> float:
        if precision not in cache:
            cache[precision] = _seconds_an_image(recipe, precision, training, data, clock)
        return cache[precision] * _images_an_epoch(training, data)

    return Pace(
        {name: epoch(precision, recipe.training) for name, precision in starts.items()},
        {name: epoch(precision, recipe.fine_tuning) for name, precision in tuned.items() if recipe.fine_tuning},
    )


def epochs_within(minutes: float, pace: Pace, fine_tuning_epochs: Callable[[int], int], most: int) -> int:
    """The most epochs, 1 to `most`, that take no longer than `minutes`; 1 where even that is too long."""
    seconds = MARGIN * 60 * minutes
    fitting = (e for e in range(most, 0, -1) if pace.seconds(e, fine_tuning_epochs(e)) <= seconds)
    return next(fitting, 1)


def _images_an_epoch(training: Training, data: DataSet) -> float:
    """In steps of training for one image: validation goes forward only, and an attack on it both ways."""
    attacked = 0 if training.robust_eps is None else min(training.robust_images, len(data.validation))
    return len(data.train) + len(data.validation) / 3 + attacked * training.robust_steps


def _seconds_an_image(
    recipe: Recipe, precision: Precision, training: Training, data: DataSet, clock: Callable[[], float]
) -> float:
    count = min(training.batch_size, len(data.train))
    images = torch.from_numpy(data.train.batch(np.arange(count)))
    classes = torch.from_numpy(data.train.classes[:count])
    compute = Compute.of(precision)
    with TemporaryDirectory() as nowhere, compute.exact_sums():
        stage = Stage("pace", precision, 0, training, Path(nowhere) / "pace.pt")
        state = TrainingState(stage, "", recipe.build(precision).train(), compute)
        start = clock()
        for step in range(STEPS):
            if step == 1:
                start = clock()
            state.step(images, classes, training.epochs, 1, None)  # as at the end, when attacks are at their longest
        return (clock() - start) / (STEPS - 1) / count
