"""export/training/compute.py: what is computed in half precision, and what a training leaves as it was."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.data.examples import DataSet
from export.training.compute import Compute
from export.training.recipe import Recipe
from export.training.state import Stage, TrainingState
from export.training.train import Progress, train_member
from models.precision import Precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("gpu", "precision", "expected"),
    [
        (True, "fp32", Compute(torch.device("cuda"), half=True)),
        (True, "w8a8", Compute(torch.device("cuda"), half=False)),
        (False, "fp32", Compute(CPU, half=False)),
        (False, "w8a8", Compute(CPU, half=False)),
    ],
)
def test_a_gpu_is_taken_where_there_is_one_and_half_precision_for_floats_on_it(
    gpu: bool, precision: str, expected: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert Compute.of(Precision.parse(precision)) == expected


def test_a_step_in_half_precision_learns_nearly_the_same_in_float32_weights(
    toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    images, classes = torch.from_numpy(toy_data.train.pixels(0, 20) * 255).byte(), torch.arange(20) % 4
    losses, weights = list[float](), list[Tensor]()
    for half in (False, True):
        torch.manual_seed(0)
        network = toy_recipe.build(Precision.parse("fp32"))
        stage = Stage("fp32", Precision.parse("fp32"), 0, toy_recipe.training, tmp_path / "fp32.pt")
        state = TrainingState(stage, "", network, Compute(CPU, half=half))
        losses.append(state.step(images, classes, 0, 1, None))
        weights.append(next(network.parameters()))
    assert losses[1] == pytest.approx(losses[0], rel=0.01) and losses[1] != losses[0]
    assert weights[1].dtype == torch.float32 and not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("before", [True, False])
def test_a_training_has_exact_sums_and_leaves_the_setting_as_it_was(
    before: bool, toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    seen: set[bool] = set()

    def look(step: Progress) -> None:
        seen.add(torch.backends.cudnn.allow_tf32)

    train_member(toy_recipe, toy_recipe.members[1], toy_data, tmp_path / "w2a4.pt", look)
    assert seen == {False} and torch.backends.cudnn.allow_tf32 == before
