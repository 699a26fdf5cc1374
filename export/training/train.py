"""Train one member: its stages, their epochs, validation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from export.data.examples import DataSet
from export.training.accuracy import accuracy, robust_accuracy, spread
from export.training.augmentation import augmented
from export.training.compute import Compute
from export.training.recipe import MemberRecipe, Recipe, Training
from export.training.state import Done, Stage, TrainingState
from models.folding import freeze
from models.precision import FLOAT_BITS, Precision
from models.quantization import EdgeBits, quantized

FLOAT = Precision(FLOAT_BITS, FLOAT_BITS)
CALIBRATION_IMAGES = 500


@dataclass(frozen=True)
class Progress:
    """What training tells the outside after every batch; the validation accuracies once an epoch, at its end."""

    member: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float | None = None
    robust: float | None = None


@dataclass
class Trained:
    """A trained member: the network with the weights of its best epoch on the validation images, frozen."""

    recipe: MemberRecipe
    network: nn.Sequential
    seconds: float


def train_member(
    recipe: Recipe, member: MemberRecipe, data: DataSet, checkpoint: Path, report: Callable[[Progress], None]
) -> Trained:
    """Train `member`, or go on from `checkpoint`, which is written after every epoch.

    A twin to start from, or a teacher, is trained first and kept beside it, as NAME.twin.pt and NAME.teacher.pt. Chance
    (the order of images, augmentation, attacks) is seeded by member and epoch, so on a CPU, with as many threads, an
    interrupted run ends with the weights of an uninterrupted one; on a GPU sums are added in any order, and it need
    not. Raises TrainingError if the loss is not finite; the last checkpoint stays.
    """
    precision, first, guide = Precision.parse(member.precision), None, None

    def run(name: str, precision: Precision, training: Training, network: nn.Sequential, path: Path) -> Done:
        stage = Stage(name, precision, member.seed, training, path)
        return _train(stage, recipe, network, data, report, guide)

    if recipe.fine_tuning is not None and not precision.is_float:
        path = checkpoint.with_suffix(".twin.pt")
        first = run(f"{member.name}, its twin", FLOAT, recipe.training, _fresh(recipe, FLOAT, member.seed), path)
        images = torch.from_numpy(data.train.batch(spread(len(data.train), CALIBRATION_IMAGES))).float() / 255
        network, training = quantized(first.network, precision, images, recipe.edges or EdgeBits()), recipe.fine_tuning
    else:
        training = recipe.training
        if recipe.teacher is not None:
            teacher = _fresh(recipe, precision, member.seed)
            first = run(
                f"{member.name}, its teacher", precision, recipe.teacher, teacher, checkpoint.with_suffix(".teacher.pt")
            )
            guide = first.network
        network = _fresh(recipe, precision, member.seed)
    done = run(member.name, precision, training, network, checkpoint)
    return Trained(member, freeze(done.network), done.seconds + (first.seconds if first else 0))


def _fresh(recipe: Recipe, precision: Precision, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return recipe.build(precision)


def _network_of(recipe: Recipe) -> str:
    """What a checkpoint knows a network by."""
    return recipe.network.__name__ + ("" if recipe.edges is None else f" {recipe.edges}")


def _train(
    stage: Stage,
    recipe: Recipe,
    network: nn.Sequential,
    data: DataSet,
    report: Callable[[Progress], None],
    teacher: nn.Sequential | None,
) -> Done:
    training = stage.training
    compute = Compute.of(stage.precision)
    state = TrainingState(stage, f"{_network_of(recipe)} {data.name} {data.md5}", network, compute)
    if teacher is not None:
        teacher.to(compute.device)
    with compute.exact_sums():
        while state.epoch < training.epochs:
            start = time.monotonic()
            last = _learn(state, stage, data, report, teacher)
            kept = state.kept.eval()
            value, robust = accuracy(kept, data.validation), robust_accuracy(kept, data.validation, training)
            figure, error = (value, 0.0) if robust is None else (robust, _standard_error(robust, data, training))
            state.finish_epoch(figure, error, value, time.monotonic() - start)
            report(replace(last, accuracy=value, robust=robust))
    return state.best()


def _learn(
    state: TrainingState,
    stage: Stage,
    data: DataSet,
    report: Callable[[Progress], None],
    teacher: nn.Sequential | None,
) -> Progress:
    """An epoch's steps, by chance that is seeded; the last one."""
    training, classes = stage.training, torch.from_numpy(data.train.classes)
    torch.manual_seed(stage.seed * 1_000_003 + state.epoch)
    order = torch.randperm(len(data.train)).split(training.batch_size)  # type: ignore[no-untyped-call]
    state.network.train()
    levels = data.train.batches([batch.numpy() for batch in order])
    for index, (batch, images) in enumerate(zip(order, levels, strict=True)):
        moved = augmented(torch.from_numpy(images), training.augmentation)
        loss = state.step(moved, classes[batch], index, len(order), teacher)
        step = Progress(stage.name, state.epoch + 1, training.epochs, index + 1, len(order), loss)
        report(step)
    return step


def _standard_error(robust: float, data: DataSet, training: Training) -> float:
    """Of the accuracy under attack, by the number of images that were attacked."""
    attacked = min(training.robust_images, len(data.validation))
    return float((robust * (1 - robust) / attacked) ** 0.5)
