"""export/training/train.py: training that can be interrupted, and what it keeps."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.data.examples import DataSet
from export.training.accuracy import accuracy
from export.training.checkpoint import TrainingError
from export.training.objectives import Fgsm
from export.training.recipe import MemberRecipe, Recipe
from export.training.train import Progress, Trained, train_member
from models.folding import freeze
from models.precision import Precision

EPOCHS, BATCHES = 3, 15


def silent(progress: Progress) -> None:
    pass


class Exploding(nn.Module):
    """NaN from the `after`-th batch of training on."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
        return x * math.nan if self.training and self.left < 0 else x


def interrupt_after(epoch: int) -> Callable[[Progress], None]:
    """A report that ends the training when this epoch is over and saved."""

    def report(progress: Progress) -> None:
        if progress.accuracy is not None and progress.epoch == epoch:
            raise KeyboardInterrupt

    return report


def begun(recipe: Recipe, data: DataSet, path: Path, epochs: int = 1) -> None:
    """A training that was interrupted after so many epochs."""
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, path, interrupt_after(epochs))


def same_weights(a: Trained, b: Trained) -> bool:
    states = a.network.state_dict(), b.network.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.fixture(params=["fp32", "w2a4"])
def recipe(request: pytest.FixtureRequest, toy_recipe: Recipe) -> Recipe:
    """The toy recipe with one member."""
    return dataclasses.replace(toy_recipe, members=(MemberRecipe("member", request.param, seed=7),))


def train(recipe: Recipe, data: DataSet, path: Path, report: Callable[[Progress], None] = silent) -> Trained:
    return train_member(recipe, recipe.members[0], data, path, report)


@pytest.mark.parametrize("kind", ["after an epoch", "within an epoch"])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    kind: str, recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == (2, 5):
            raise KeyboardInterrupt

    whole = train(recipe, toy_data, tmp_path / "whole.pt")
    path, epochs = tmp_path / "interrupted.pt", list[int]()
    with pytest.raises(KeyboardInterrupt):
        train(recipe, toy_data, path, interrupt_after(1) if kind == "after an epoch" else interrupt)
    torch.rand(3)  # chance has moved on by the time of the resumption
    resumed = train(recipe, toy_data, path, lambda progress: epochs.append(progress.epoch))

    assert set(epochs) == {2, 3}
    assert same_weights(whole, resumed)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".pt"] == []


def test_a_finished_training_is_not_repeated(toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path) -> None:
    first = train(toy_recipe, toy_data, tmp_path / "fp32.pt")
    again = train(toy_recipe, toy_data, tmp_path / "fp32.pt", lambda progress: pytest.fail("trained"))
    assert same_weights(first, again) and again.seconds == first.seconds > 0


@pytest.mark.parametrize(
    "change",
    [{"epochs": 4}, {"batch_size": 10}, {"learning_rate": 0.5}, {"objective": Fgsm(0.1)}, {"seed": 99}],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_of_another_recipe_is_refused(
    change: dict[str, object], toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    path = tmp_path / "fp32.pt"
    begun(toy_recipe, toy_data, path)
    before = path.read_bytes()
    if "seed" in change:
        other = dataclasses.replace(toy_recipe, members=(dataclasses.replace(toy_recipe.members[0], seed=99),))
    else:
        training = dataclasses.replace(toy_recipe.training, **change)  # type: ignore[arg-type]
        other = dataclasses.replace(toy_recipe, training=training)
    with pytest.raises(TrainingError, match=r"expected a checkpoint of .* got toy_conv .*; delete it") as refusal:
        train(other, toy_data, path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert path.read_bytes() == before


def test_a_loss_that_is_not_finite_ends_the_training_and_the_last_checkpoint_stays(
    toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    def toy_conv(precision: Precision) -> nn.Sequential:
        return nn.Sequential(*toy_recipe.network(precision), Exploding(after=BATCHES + 4))

    path = tmp_path / "fp32.pt"
    with pytest.raises(
        TrainingError, match=r"member fp32: the loss became nan in epoch 2 of 3.* begin anew with a small"
    ):
        train(dataclasses.replace(toy_recipe, network=toy_conv), toy_data, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert same_weights(train(toy_recipe, toy_data, path), train(toy_recipe, toy_data, tmp_path / "whole.pt"))


def test_a_step_that_spoils_the_weights_at_the_end_of_an_epoch_is_not_saved(
    toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of that step is finite: the next one's, after the checkpoint, would be the first to show it."""
    path, left = tmp_path / "fp32.pt", [2 * BATCHES]
    step = torch.optim.Adam.step

    def spoiling_step(self: torch.optim.Adam) -> None:
        step(self)
        left[0] -= 1
        if left[0] == 0:
            self.param_groups[0]["params"][0].data.view(-1)[3] = math.inf

    monkeypatch.setattr(torch.optim.Adam, "step", spoiling_step)
    with pytest.raises(TrainingError, match=r"member fp32: \S+weight is not finite in epoch 2 of 3, after its last"):
        train(toy_recipe, toy_data, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    monkeypatch.undo()
    assert same_weights(train(toy_recipe, toy_data, path), train(toy_recipe, toy_data, tmp_path / "whole.pt"))


def test_the_weights_are_those_of_the_best_epoch(
    toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = dataclasses.replace(toy_recipe, members=toy_recipe.members[1:2]), tmp_path / "best.pt"
    figures = iter([0.9, 0.5, 0.9])  # of equals the earliest
    monkeypatch.setattr("export.training.train.accuracy", lambda network, split: next(figures))
    begun(recipe, toy_data, path)
    first_epoch = recipe.build(Precision.parse("w2a4"))
    first_epoch.load_state_dict(torch.load(path, weights_only=True)["network"])
    best = train(recipe, toy_data, path)
    assert same_weights(best, dataclasses.replace(best, network=freeze(first_epoch)))


@pytest.mark.parametrize(
    ("robust", "clean", "kept"),
    [
        ([0.50, 0.49, 0.30], [0.6, 0.8, 0.9], 2),  # as robust as the best, by chance, and better at clean images
        ([0.50, 0.55, 0.51], [0.8, 0.6, 0.7], 1),
        ([0.10, 0.60, 0.10], [0.9, 0.5, 0.9], 2),  # worse than chance explains
        ([0.00, 0.00, 0.00], [0.4, 0.5, 0.3], 2),
    ],
)
def test_of_epochs_that_withstand_as_much_the_best_at_clean_images_is_kept(
    toy_recipe: Recipe,
    toy_data: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    robust: list[float],
    clean: list[float],
    kept: int,
) -> None:
    under_attack, on_clean = iter(robust), iter(clean)
    monkeypatch.setattr("export.training.train.robust_accuracy", lambda *_: next(under_attack))
    monkeypatch.setattr("export.training.train.accuracy", lambda *_: next(on_clean))
    train_member(toy_recipe, toy_recipe.members[1], toy_data, tmp_path / "found.pt", silent)
    assert torch.load(tmp_path / "found.pt", weights_only=True)["accuracy"] == clean[kept - 1]


def test_members_learn_and_say_how_well(toy_trained: list[Trained], toy_data: DataSet) -> None:
    for member in toy_trained:
        assert accuracy(member.network, toy_data.validation) > 0.5  # of four classes
        assert not member.network.training


def test_progress_is_told_after_every_batch_and_accuracy_once_an_epoch(
    toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    told: list[Progress] = []
    trained = train(toy_recipe, toy_data, tmp_path / "fp32.pt", told.append)
    steps = [(p.epoch, p.batch) for p in told if p.accuracy is None]
    figures = [p.accuracy for p in told if p.accuracy is not None]

    assert steps == [(epoch, batch) for epoch in (1, 2, 3) for batch in range(1, BATCHES + 1)]
    assert {(p.member, p.epochs, p.batches) for p in told} == {("fp32", EPOCHS, BATCHES)}
    assert len(figures) == EPOCHS and max(figures) == accuracy(trained.network, toy_data.validation)
    assert told[-1].loss < told[0].loss


def test_the_learning_rate_follows_a_cosine_to_0_over_all_epochs(
    toy_recipe: Recipe, toy_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def recording_step(self: torch.optim.Adam) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", recording_step)
    begun(toy_recipe, toy_data, tmp_path / "fp32.pt", epochs=2)
    train(toy_recipe, toy_data, tmp_path / "fp32.pt")
    progress = np.arange(EPOCHS * BATCHES) / (EPOCHS * BATCHES)
    np.testing.assert_allclose(rates, 0.01 * (1 + np.cos(np.pi * progress)) / 2, rtol=1e-4, atol=1e-8)
