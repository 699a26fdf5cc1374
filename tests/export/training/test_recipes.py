"""export/training/recipes.py: every recipe describes an ensemble that can be trained."""

import re

import pytest
import torch

from export.training.recipes import RECIPES, Recipe
from models.folding import freeze
from models.precision import Precision
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
