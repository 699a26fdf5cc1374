"""export/graphs/restore.py: a bundle's networks in torch again, with the weights that are served."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import nn

from export.bundle import write_bundle
from export.data.examples import DataSet
from export.graphs.restore import restore
from export.training.recipe import MemberRecipe, Recipe
from export.training.train import Trained
from models.precision import Precision
from runtime.bundle import Bundle, load_bundle
from runtime.errors import BundleError

PRECISIONS = ("fp32", *(f"w{w}a{8 - w}" for w in range(1, 8)), "w8a8")


@pytest.fixture(scope="session")
def untrained(
    toy_recipe: Recipe,
    toy_data: DataSet,
    frozen_toy: Callable[[str], nn.Sequential],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """A bundle of a member of each kind of precision, named by it, with random weights."""
    trained = [Trained(MemberRecipe(text, text, seed=0), frozen_toy(text), 0.0) for text in PRECISIONS]
    folder = tmp_path_factory.mktemp("bundles") / "untrained"
    write_bundle(toy_recipe, trained, toy_data, folder, "")
    return load_bundle(folder, gradients=True)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_restored_network_is_the_frozen_one(
    precision: str,
    untrained: Bundle,
    toy_recipe: Recipe,
    toy_data: DataSet,
    frozen_toy: Callable[[str], nn.Sequential],
) -> None:
    expected = frozen_toy(precision)
    torch.manual_seed(99)
    found = restore(toy_recipe, untrained, untrained.manifest.members[PRECISIONS.index(precision)])

    states = expected.state_dict(), found.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    images = torch.from_numpy(toy_data.test.pixels())
    with torch.no_grad():
        assert torch.equal(found(images), expected(images))


def test_a_member_without_a_gradient_graph_is_refused_by_name(untrained: Bundle, toy_recipe: Recipe) -> None:
    member = untrained.manifest.members[0].model_copy(update={"gradient_file": None, "gradient_sha256": None})
    with pytest.raises(BundleError, match="member fp32 has no gradient graph to restore it from"):
        restore(toy_recipe, untrained, member)


def test_a_recipe_whose_network_has_other_shapes_is_refused(untrained: Bundle, toy_recipe: Recipe) -> None:
    def wider(precision: Precision) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 5, 4, stride=2, padding=1, bias=False))

    message = r"fp32.gradient.onnx: 0.weight: expected shape \(5, 1, 4, 4\), got \(4, 1, 4, 4\)"
    with pytest.raises(BundleError, match=message):
        restore(dataclasses.replace(toy_recipe, network=wider), untrained, untrained.manifest.members[0])


def test_a_recipe_whose_network_has_more_layers_is_refused(untrained: Bundle, toy_recipe: Recipe) -> None:
    def biased(precision: Precision) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 4, 4, stride=2, padding=1))

    with pytest.raises(BundleError, match=r"fp32.gradient.onnx: expected a tensor 0.bias, there is none"):
        restore(dataclasses.replace(toy_recipe, network=biased), untrained, untrained.manifest.members[0])
