"""Recipes: everything that defines a trained ensemble, on one screen."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from export.data.cifar10 import load_cifar10
from export.data.examples import DataSet
from export.data.imagenet import load_imagenet, load_imagenette
from export.data.mnist import load_mnist
from export.training.augmentation import Augmentation
from export.training.objectives import (
    Adversarial,
    CrossEntropy,
    Distillation,
    Fgsm,
    GradientPenalty,
    NoiseFgsm,
    Objective,
)
from models.networks import alex_net, cifar_conv, mnist_conv, resnet20, small_cnn
from models.precision import Precision
from runtime.manifest import Input, Vote


@dataclass(frozen=True)
class MemberRecipe:
    """One member: its name in the bundle, its precision, and the seed of its weights and of the order of its images."""

    name: str
    precision: str
    seed: int


PLAIN = CrossEntropy()


@dataclass(frozen=True)
class Training:
    """How one network is trained. Momentum of `sgd` is 0.9; the decay to 0 is over all epochs.

    `averaging` is the decay, per step, of the moving average of the weights that is kept instead of them; 0: none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    objective: Objective = PLAIN
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["cosine", "one_cycle"] = "cosine"
    weight_decay: float = 0.0
    averaging: float = 0.0
    augmentation: Augmentation = "none"
    robust_eps: float | None = None
    """The epoch kept is the one with the best accuracy on validation images: attacked by PGD in this Linf ball, or,
    where it is None, clean."""
    robust_steps: int = field(default=20, repr=False)
    robust_images: int = field(default=500, repr=False)
    """Of this PGD, and how many images it attacks. Not shown, so that older checkpoints know their training again."""


@dataclass(frozen=True)
class Recipe:
    """How to make an ensemble, from a data set to a bundle."""

    name: str
    description: str
    data: Callable[[Path | None], DataSet]
    network: Callable[[Precision], nn.Sequential]
    input: Input
    vote: Vote
    members: tuple[MemberRecipe, ...]
    training: Training
    expected: str
    fine_tuning: Training | None = None
    """Of low-precision members, which then start from a full-precision twin of their seed; without it they are trained
    from the start."""
    teacher: Training | None = None
    """Of a network of the member's seed whose probabilities the member learns."""


FP32 = Vote(rule="majority", tie_breaker="fp32")
DIGITS = Input(channels=1, height=28, width=28, resize="digit", invert="bright_border")
PHOTOS = Input(channels=3, height=32, width=32, resize="center_crop")
LARGE_PHOTOS = Input(channels=3, height=224, width=224, resize="center_crop")

MNIST_EMPIR = Recipe(
    name="mnist-empir",
    description="The paper's MNIST ensemble: two 2-bit members and a full-precision one. "
    "Not robust against an attack that knows the vote.",
    data=load_mnist,
    network=mnist_conv,
    input=DIGITS,
    vote=FP32,
    members=(
        MemberRecipe("fp32", "fp32", seed=0),
        MemberRecipe("w2a4-a", "w2a4", seed=1),
        MemberRecipe("w2a4-b", "w2a4", seed=2),
    ),
    training=Training(epochs=20, batch_size=128, learning_rate=1e-3),
    expected="98.8% clean; about half an hour on 2 cores",
)

CIFAR10_EMPIR = Recipe(
    name="cifar10-empir",
    description="The paper's CIFAR-10 ensemble: w4a2, w2a2 and full precision. "
    "Not robust against an attack that knows the vote.",
    data=load_cifar10,
    network=cifar_conv,
    input=PHOTOS,
    vote=FP32,
    members=(
        MemberRecipe("fp32", "fp32", seed=0),
        MemberRecipe("w4a2", "w4a2", seed=1),
        MemberRecipe("w2a2", "w2a2", seed=2),
    ),
    training=Training(epochs=30, batch_size=128, learning_rate=1e-3),
    expected="72% clean; about an hour on 2 cores",
)

IMAGENET_EMPIR = Recipe(
    name="imagenet-empir",
    description="The paper's ImageNet ensemble, AlexNets: w2a2, w4a4 and full precision. "
    "Not robust against an attack that knows the vote.",
    data=lambda data_dir: load_imagenet(data_dir, LARGE_PHOTOS),
    network=alex_net,
    input=LARGE_PHOTOS,
    vote=FP32,
    members=(
        MemberRecipe("fp32", "fp32", seed=0),
        MemberRecipe("w2a2", "w2a2", seed=1),
        MemberRecipe("w4a4", "w4a4", seed=2),
    ),
    training=Training(epochs=20, batch_size=128, learning_rate=5e-4),
    expected="the paper reports 55% clean; days on a GPU, and ImageNet in --data-dir",
)


def small_alex_net(precision: Precision) -> nn.Sequential:
    """AlexNet with the ten classes of Imagenette."""
    return alex_net(precision, classes=10)


IMAGENETTE_EMPIR = replace(
    IMAGENET_EMPIR,
    name="imagenette-empir",
    description="The paper's AlexNets on Imagenette, ten classes of ImageNet, where the whole is not to be had.",
    data=lambda data_dir: load_imagenette(data_dir, LARGE_PHOTOS),
    network=small_alex_net,
    training=Training(epochs=20, batch_size=64, learning_rate=5e-4),
    expected="a GPU; on 2 cores some ten minutes an epoch and member",
)

MNIST = Recipe(
    name="mnist",
    description="Digits, trained against attacks of up to 0.3 (Linf): full precision, 8 and 4 bits, "
    "each from a seed of its own.",
    data=load_mnist,
    network=small_cnn,
    input=DIGITS,
    vote=FP32,
    members=(
        MemberRecipe("fp32", "fp32", seed=0),
        MemberRecipe("w8a8", "w8a8", seed=1),
        MemberRecipe("w4a4", "w4a4", seed=2),
    ),
    training=Training(
        epochs=14,
        batch_size=256,
        learning_rate=2e-3,
        objective=Adversarial(
            eps=0.32, steps=10, step=0.2, ramp_epochs=3, early_epochs=7, early_steps=7, early_step=0.25
        ),
        optimizer="adamw",
        schedule="one_cycle",
        weight_decay=5e-4,
        averaging=0.998,
        robust_eps=0.3,
    ),
    fine_tuning=Training(
        epochs=3,
        batch_size=256,
        learning_rate=4e-4,
        objective=Adversarial(eps=0.32, steps=10, step=0.2),
        optimizer="adamw",
        weight_decay=5e-4,
        averaging=0.998,
        robust_eps=0.3,
    ),
    expected="99% clean, 90% under attacks of 0.3; about three hours on 2 cores",
)

CIFAR10 = Recipe(
    name="cifar10",
    description="Photos of ten kinds, trained against attacks of up to 8/255 (Linf): full precision, 8 and 4 bits, "
    "each from a seed of its own.",
    data=load_cifar10,
    network=resnet20,
    input=PHOTOS,
    vote=FP32,
    members=(
        MemberRecipe("fp32", "fp32", seed=0),
        MemberRecipe("w8a8", "w8a8", seed=1),
        MemberRecipe("w4a4", "w4a4", seed=2),
    ),
    training=Training(
        epochs=24,
        batch_size=128,
        learning_rate=0.15,
        objective=NoiseFgsm(eps=8 / 255),
        optimizer="sgd",
        schedule="one_cycle",
        weight_decay=5e-4,
        averaging=0.999,
        augmentation="crop_and_flip",
        robust_eps=8 / 255,
    ),
    fine_tuning=Training(
        epochs=4,
        batch_size=128,
        learning_rate=3e-4,
        objective=NoiseFgsm(eps=8 / 255),
        optimizer="adamw",
        weight_decay=5e-4,
        averaging=0.999,
        augmentation="crop_and_flip",
        robust_eps=8 / 255,
    ),
    expected="65% clean, 35% under attacks of 8/255; about six hours on 2 cores",
)


def _control(recipe: Recipe) -> Recipe:
    """The same with three full-precision members of different seeds: what seeds alone give."""
    return replace(
        recipe,
        name=f"{recipe.name}-control",
        description=f"Three full-precision members of different seeds, trained as those of {recipe.name}: a control.",
        members=tuple(MemberRecipe(name, "fp32", seed) for seed, name in enumerate(("fp32", "fp32-b", "fp32-c"))),
        fine_tuning=None,
    )


def _defended(base: Recipe, eps: float, temperature: float) -> tuple[Recipe, ...]:
    """The defences that the paper compares with, each a single full-precision network of its data set."""
    plain = base.training
    single = partial(replace, base, members=base.members[:1])
    pgd = Adversarial(eps=eps, steps=10, step=0.25, ramp_epochs=2)
    of = base.name.removesuffix("-empir")
    return (
        single(
            name=f"{of}-fgsm",
            description=f"FGSM adversarial training, eps {eps:g}.",
            training=replace(plain, objective=Fgsm(eps)),
            expected="twice the time of a plain member; falls to attacks of more steps",
        ),
        single(
            name=f"{of}-pgd",
            description=f"PGD adversarial training (Madry et al.), eps {eps:g}, 10 steps.",
            training=replace(plain, objective=pgd, robust_eps=eps),
            expected="ten times the time of a plain member",
        ),
        single(
            name=f"{of}-distillation",
            description=f"Defensive distillation (Papernot et al.), temperature {temperature:g}.",
            training=replace(plain, objective=Distillation(temperature)),
            teacher=replace(plain, objective=CrossEntropy(temperature)),
            expected="twice the time of a plain member; falls to attacks that climb margins",
        ),
        single(
            name=f"{of}-gradient-penalty",
            description="Input-gradient regularisation (Ross and Doshi-Velez).",
            training=replace(plain, objective=GradientPenalty(weight=1.0)),
            expected="three times the time of a plain member",
        ),
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        MNIST,
        CIFAR10,
        MNIST_EMPIR,
        CIFAR10_EMPIR,
        IMAGENET_EMPIR,
        IMAGENETTE_EMPIR,
        _control(MNIST),
        _control(CIFAR10),
        *_defended(MNIST_EMPIR, eps=0.3, temperature=100),
        *_defended(CIFAR10_EMPIR, eps=0.1, temperature=10),
    )
}
