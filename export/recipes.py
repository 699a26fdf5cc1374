"""Recipes: everything that defines a trained ensemble, on one screen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from export.data import DataSet, load_mnist
from models.networks import mnist_conv
from models.precision import Precision
from runtime.manifest import Input, Vote


@dataclass(frozen=True)
class MemberRecipe:
    """One member: its name in the bundle, its precision, and the seed of its weights and of the order of its images."""

    name: str
    precision: str
    seed: int


@dataclass(frozen=True)
class Recipe:
    """How to train an ensemble: Adam, cosine decay to 0 over `epochs`, cross entropy, no augmentation."""

    name: str
    description: str
    data: Callable[[Path | None], DataSet]
    network: Callable[[Precision], nn.Sequential]
    input: Input
    vote: Vote
    members: tuple[MemberRecipe, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    expected: str


MNIST_EMPIR = Recipe(
    name="mnist-empir",
    description="The paper's MNIST ensemble: two 2-bit members and a full-precision one. "
    "Not robust against an attack that knows the vote.",
    data=load_mnist,
    network=mnist_conv,
    input=Input(channels=1, height=28, width=28, resize="digit", invert="bright_border"),
    vote=Vote(rule="majority", tie_breaker="fp32"),
    members=(
        MemberRecipe("fp32", "fp32", seed=0),
        MemberRecipe("w2a4-a", "w2a4", seed=1),
        MemberRecipe("w2a4-b", "w2a4", seed=2),
    ),
    epochs=20,
    batch_size=128,
    learning_rate=1e-3,
    expected="98.8% clean; about half an hour on 2 cores",
)

RECIPES = {recipe.name: recipe for recipe in (MNIST_EMPIR,)}
