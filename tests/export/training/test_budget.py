"""export/training/budget.py: the epochs that fit into minutes, on a clock of the test's."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from export.data.examples import DataSet
from export.training.budget import MARGIN, STEPS, Pace, epochs_within, measured_pace
from export.training.compute import Compute
from export.training.own_images import fine_tuning_epochs
from export.training.recipe import Recipe
from export.training.state import TrainingState
from models.precision import Precision


@given(st.floats(0.01, 100), st.floats(0.1, 100), st.floats(0.1, 100))
def test_the_most_epochs_that_fit_are_chosen(minutes: float, training: float, tuning: float) -> None:
    pace = Pace({"fp32": training, "w4a4": training}, {"w4a4": tuning})
    epochs = epochs_within(minutes, pace, fine_tuning_epochs, most=50)

    def seconds(epochs: int) -> float:
        return 2 * training * epochs + tuning * fine_tuning_epochs(epochs)

    limit = MARGIN * 60 * minutes
    assert 1 <= epochs <= 50
    assert epochs == 1 or seconds(epochs) <= limit
    assert epochs == 50 or seconds(epochs + 1) > limit


@pytest.mark.parametrize("tuned", [False, True], ids=["from the start", "fine-tuned"])
def test_a_pace_is_measured_for_every_precision(tuned: bool, toy_recipe: Recipe, toy_data: DataSet) -> None:
    """The clock goes one second whenever it is looked at: half a second a step of 20 images, 320 images an epoch."""
    recipe = dataclasses.replace(toy_recipe, fine_tuning=toy_recipe.training if tuned else None)
    ticks = itertools.count().__next__
    pace = measured_pace(recipe, toy_data, lambda: float(ticks()))
    epoch = 0.5 / 20 * (300 + 60 / 3)
    assert pace.training == pytest.approx({"fp32": epoch, "w2a4": epoch, "w8a8": epoch})
    assert pace.fine_tuning == pytest.approx({"w2a4": epoch, "w8a8": epoch} if tuned else {})


def test_the_pace_is_that_of_the_trainings_own_steps(
    toy_recipe: Recipe, toy_data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what its precision is computed on, the moving average, and attacks as long as in the last epoch."""
    seen: list[tuple[Compute, float]] = []
    step = TrainingState.step

    def watched(self: TrainingState, images: Tensor, classes: Tensor, index: int, batches: int, teacher: None) -> float:
        seen.append((self.compute, self.epoch + index / batches))
        return step(self, images, classes, index, batches, teacher)

    monkeypatch.setattr(TrainingState, "step", watched)
    measured_pace(toy_recipe, toy_data)
    expected = [(Compute.of(each), 3.0) for each in map(Precision.parse, ("fp32", "w2a4", "w8a8"))]
    assert seen == [each for each in expected for _ in range(STEPS)]


def test_attacks_on_validation_images_are_counted(toy_recipe: Recipe, toy_data: DataSet) -> None:
    watched = dataclasses.replace(toy_recipe.training, robust_eps=0.1, robust_steps=4, robust_images=50)
    recipe = dataclasses.replace(toy_recipe, members=toy_recipe.members[:1], training=watched)
    ticks = itertools.count().__next__
    pace = measured_pace(recipe, toy_data, lambda: float(ticks()))
    assert pace.training == pytest.approx({"fp32": 0.5 / 20 * (300 + 60 / 3 + 200)})
