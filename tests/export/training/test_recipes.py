"""export/training/recipes.py: every recipe describes an ensemble that can be trained."""

import re
from dataclasses import replace

import pytest
import torch

from export.training.recipe import Recipe
from export.training.recipes import RECIPES
from models.folding import freeze
from models.precision import Precision
from models.quantization import EdgeBits
from runtime.manifest import NAME

ALL = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


@ALL
def test_names_may_stand_in_a_manifest_and_seeds_differ(recipe: Recipe) -> None:
    names = [member.name for member in recipe.members]
    assert all(re.fullmatch(NAME, name) for name in (recipe.name, *names))
    assert len(set(names)) == len(names)
    assert len({member.seed for member in recipe.members}) == len(names)
    assert RECIPES[recipe.name] is recipe


@ALL
def test_the_tie_breaker_is_the_full_precision_member(recipe: Recipe) -> None:
    (tie_breaker,) = (member for member in recipe.members if member.name == recipe.vote.tie_breaker)
    assert Precision.parse(tie_breaker.precision).is_float


@ALL
def test_every_network_takes_the_recipes_images(recipe: Recipe) -> None:
    images = torch.zeros(2, recipe.input.channels, recipe.input.height, recipe.input.width)
    classes = 1000 if recipe.name.startswith("imagenet-") else 10
    for member in recipe.members:
        with torch.no_grad():
            assert freeze(recipe.network(Precision.parse(member.precision)))(images).shape == (2, classes)


@ALL
def test_every_recipe_says_what_it_costs_and_whether_its_accuracy_was_measured(recipe: Recipe) -> None:
    assert re.search(r"minutes|hours|days|about that of", recipe.cost)
    assert "measured" in recipe.expected


def test_edges_want_a_network_that_takes_them() -> None:
    edges = EdgeBits(first=4)
    assert replace(RECIPES["mnist"], edges=edges).edges == edges
    with pytest.raises(
        ValueError, match=r"^mnist-empir: expected a network that takes the bits of its edges, got mnist_conv"
    ):
        replace(RECIPES["mnist-empir"], edges=edges)


@pytest.mark.parametrize("data_set", ["mnist", "cifar10"])
def test_compared_defences_differ_from_the_plain_member_by_their_loss_alone(data_set: str) -> None:
    plain = RECIPES[f"{data_set}-empir"]
    for name in ("fgsm", "pgd", "distillation", "gradient-penalty"):
        recipe = RECIPES[f"{data_set}-{name}"]
        assert recipe.members == plain.members[:1] and recipe.network is plain.network
        like = replace(recipe.training, objective=plain.training.objective, robust_eps=None)
        assert like == plain.training
        assert recipe.training.objective != plain.training.objective
        assert (recipe.teacher is not None) == (name == "distillation")
