"""Members that learn together: one network of all of them, its objective, and a stage that can be interrupted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from export.data.examples import DataSet
from export.training.display import total_cost
from export.training.objectives import Adversarial, AgainstVote
from export.training.recipe import Recipe, Training
from export.training.together import Together
from export.training.train import ALL, Progress, Trained, train_member, train_together
from models.precision import Precision

ATTACK = Adversarial(eps=0.1, steps=2, step=0.6)


def silent(progress: Progress) -> None:
    pass


@pytest.fixture
def recipe(toy_recipe: Recipe) -> Recipe:
    """Two members, one epoch each, then two together."""
    single = replace(toy_recipe.training, epochs=1)
    together = Training(epochs=2, batch_size=20, learning_rate=0.01, objective=AgainstVote(ATTACK), robust_eps=0.1)
    return replace(toy_recipe, members=toy_recipe.members[:2], training=single, together=together)


def trained(recipe: Recipe, data: DataSet, folder: Path, report: Callable[[Progress], None] = silent) -> list[Trained]:
    alone = [train_member(recipe, each, data, folder / f"{each.name}.pt", silent) for each in recipe.members]
    return train_together(recipe, alone, data, folder / "together.pt", report)


def weights(members: list[Trained]) -> list[torch.Tensor]:
    return [value for member in members for value in member.network.state_dict().values()]


def test_all_as_one_say_the_mean_of_their_log_probabilities(toy_recipe: Recipe) -> None:
    networks = [toy_recipe.network(Precision.parse(text)).eval() for text in ("fp32", "w2a4")]
    images = torch.rand(5, 1, 8, 8)
    expected = sum(network(images).softmax(dim=1).log() for network in networks) / 2
    torch.testing.assert_close(Together(networks)(images), expected)


def test_the_members_losses_add_up_and_half_of_a_batch_is_against_all(toy_recipe: Recipe) -> None:
    """An attack that leaves images alone but for a mark shows who was attacked on which of them."""
    networks = [toy_recipe.network(Precision.parse("fp32")).eval() for _ in range(2)]
    together, images, classes = Together(networks), torch.rand(6, 1, 8, 8), torch.arange(6) % 4
    seen: list[tuple[str, int]] = []

    class Marking(Adversarial):
        def moved(
            self, network: torch.nn.Module, images: torch.Tensor, classes: torch.Tensor, epoch: float
        ) -> torch.Tensor:
            seen.append((type(network).__name__, len(images)))
            return images

    loss = AgainstVote(Marking(eps=0.1, steps=2, step=0.6))(together, images, classes, 0.0, None)
    expected = sum(functional.cross_entropy(network(images), classes) for network in networks)
    torch.testing.assert_close(loss, expected)
    assert seen == [("Together", 3), ("Sequential", 3), ("Sequential", 3)]
    with pytest.raises(TypeError, match="expected members that are trained together, got Sequential"):
        AgainstVote(ATTACK)(networks[0], images, classes, 0.0, None)


def test_all_members_learn_and_an_interruption_changes_nothing(
    recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.member == ALL and (progress.epoch, progress.batch) == (2, 5):
            raise KeyboardInterrupt

    alone = trained(replace(recipe, together=None), toy_data, tmp_path / "whole")
    whole = trained(recipe, toy_data, tmp_path / "whole")
    assert [each.recipe for each in whole] == list(recipe.members)
    assert not any(torch.equal(a, b) for a, b in zip(weights(alone), weights(whole), strict=True) if a.dim() > 1)
    assert all(after.seconds > before.seconds for before, after in zip(alone, whole, strict=True))
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, toy_data, tmp_path / "part", interrupt)
    epochs: list[int] = []
    again = trained(recipe, toy_data, tmp_path / "part", lambda progress: epochs.append(progress.epoch))
    assert set(epochs) == {2}
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))


def test_the_time_left_knows_of_it(recipe: Recipe) -> None:
    assert total_cost(recipe) == pytest.approx(1 + 1.6 + 2 * (1 + 1.6))
