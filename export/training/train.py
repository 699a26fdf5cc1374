"""Train one member: its stages, their epochs, validation, checkpoints."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.data.examples import DataSet, Examples, as_pixels
from export.training.augmentation import augmented
from export.training.checkpoint import TrainingError, load_checkpoint, save_checkpoint
from export.training.objectives import pgd
from export.training.recipe import MemberRecipe, Recipe, Training
from models.folding import freeze
from models.precision import FLOAT_BITS, Precision
from models.quantization import quantized

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
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class _Stage:
    """One network to train: a member, its twin to start from, or its teacher."""

    name: str
    precision: Precision
    seed: int
    training: Training
    path: Path


@dataclass(frozen=True)
class _Done:
    """A finished stage: the network with its best weights."""

    network: nn.Sequential
    accuracy: float
    seconds: float


def train_member(
    recipe: Recipe,
    member: MemberRecipe,
    data: DataSet,
    checkpoint: Path,
    report: Callable[[Progress], None],
    stop_after: int | None = None,
) -> Trained:
    """Train `member`, or go on from `checkpoint`, which is written after every epoch.

    A twin to start from, or a teacher, is trained first and kept beside it, as NAME.twin.pt and NAME.teacher.pt. Chance
    (the order of images, augmentation, attacks, stochastic rounding) is seeded by member and epoch, so an interrupted
    run ends with the weights of an uninterrupted one. `stop_after` ends each stage early, after that many epochs.
    Raises TrainingError if the loss is not finite; the last checkpoint stays.
    """
    precision, first = Precision.parse(member.precision), None

    def run(name: str, precision: Precision, training: Training, network: nn.Sequential, path: Path) -> _Done:
        stage = _Stage(name, precision, member.seed, training, path)
        return _train(stage, recipe, network, data, report, stop_after, first.network if first else None)

    network = None
    if recipe.fine_tuning is not None and not precision.is_float:
        path = checkpoint.with_suffix(".twin.pt")
        first = run(f"{member.name}, its twin", FLOAT, recipe.training, _fresh(recipe, FLOAT, member.seed), path)
        images = torch.from_numpy(data.train.batch(_spread(len(data.train), CALIBRATION_IMAGES))).float() / 255
        network, training = quantized(first.network, precision, images), recipe.fine_tuning
    else:
        training = recipe.training
        if recipe.teacher is not None:
            teacher = _fresh(recipe, precision, member.seed)
            first = run(
                f"{member.name}, its teacher", precision, recipe.teacher, teacher, checkpoint.with_suffix(".teacher.pt")
            )
        network = _fresh(recipe, precision, member.seed)
    done = run(member.name, precision, training, network, checkpoint)
    return Trained(member, freeze(done.network), done.accuracy, done.seconds + (first.seconds if first else 0))


def _fresh(recipe: Recipe, precision: Precision, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return recipe.network(precision)


def _train(
    stage: _Stage,
    recipe: Recipe,
    network: nn.Sequential,
    data: DataSet,
    report: Callable[[Progress], None],
    stop_after: int | None,
    teacher: nn.Sequential | None,
) -> _Done:
    training = stage.training
    state = _State(stage, f"{recipe.network.__name__} {data.name} {data.md5}", network)
    classes = torch.from_numpy(data.train.classes)
    if teacher is not None:
        teacher.to(state.device)
    while state.epoch < (training.epochs if stop_after is None else min(stop_after, training.epochs)):
        start = time.monotonic()
        torch.manual_seed(stage.seed * 1_000_003 + state.epoch)
        order = torch.randperm(len(data.train)).split(training.batch_size)  # type: ignore[no-untyped-call]
        state.network.train()
        loss = 0.0
        levels = data.train.batches([batch.numpy() for batch in order])
        for index, (batch, images) in enumerate(zip(order, levels, strict=True)):
            moved = augmented(torch.from_numpy(images), training.augmentation)
            loss = state.step(moved, classes[batch], index, len(order), teacher)
            report(Progress(stage.name, state.epoch + 1, training.epochs, index + 1, len(order), loss))
        kept = state.kept.eval()
        value, robust = accuracy(kept, data.validation), _robust_accuracy(kept, data.validation, training)
        state.finish_epoch(value if robust is None else robust, value, time.monotonic() - start)
        report(Progress(stage.name, state.epoch, training.epochs, len(order), len(order), loss, value, robust))
    return state.best()


class _State:
    """A stage under way: everything that a checkpoint holds."""

    def __init__(self, stage: _Stage, source: str, network: nn.Sequential) -> None:
        training = stage.training
        self.name, self.training, self._path = stage.name, training, stage.path
        self._identity = f"{source} {stage.precision} seed={stage.seed} {training}"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._half = self.device.type == "cuda" and stage.precision.is_float  # integer levels need float32
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kept = copy.deepcopy(network) if training.averaging else network
        self._optimizer = _optimizer(training, [p for p in network.parameters() if p.requires_grad])
        self.epoch, self._steps, self._seconds = 0, 0, 0.0
        self._best, self._accuracy = -1.0, 0.0
        self._best_weights = _copied(self.kept)
        saved = load_checkpoint(stage.path, self._identity)
        if saved is not None:
            self.network.load_state_dict(saved["network"])
            self.kept.load_state_dict(saved["kept"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self.epoch, self._steps, self._seconds = saved["epoch"], saved["steps"], saved["seconds"]
            self._best, self._accuracy, self._best_weights = saved["best"], saved["accuracy"], saved["best_weights"]

    def step(self, images: Tensor, classes: Tensor, index: int, batches: int, teacher: nn.Module | None) -> float:
        """One step of the optimizer on a batch of levels uint8 [B, C, H, W]."""
        epoch = self.epoch + index / batches
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.training, epoch)
        pixels = (images.to(self.device).float() / 255).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            loss = self.training.objective(self.network, pixels, classes.to(self.device), epoch, teacher)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"member {self.name}: the loss became {loss.item()} in epoch {self.epoch + 1} of "
                f"{self.training.epochs}, batch {index + 1}; "
                "the checkpoint of the epoch before it, if there is one, stays"
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._steps += 1
        if self.training.averaging:
            self._average()
        return loss.item()

    def _average(self) -> None:
        """One step of the moving average; its decay grows to the recipe's, so that it forgets the random start."""
        share = 1 - min(self.training.averaging, self._steps / (self._steps + 20))
        with torch.no_grad():
            for mean, now in zip(self.kept.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(now, share)
                else:
                    mean.copy_(now)

    def finish_epoch(self, figure: float, value: float, seconds: float) -> None:
        self.epoch += 1
        self._seconds += seconds
        if figure > self._best:
            self._best, self._accuracy, self._best_weights = figure, value, _copied(self.kept)
        save_checkpoint(
            self._path,
            self._identity,
            {
                "network": self.network.state_dict(),
                "kept": self.kept.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "epoch": self.epoch,
                "steps": self._steps,
                "seconds": self._seconds,
                "best": self._best,
                "accuracy": self._accuracy,
                "best_weights": self._best_weights,
            },
        )

    def best(self) -> _Done:
        self.kept.load_state_dict(self._best_weights)
        network = self.kept.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return _Done(network.eval(), self._accuracy, self._seconds)


def learning_rate(training: Training, epoch: float) -> float:
    """By cosines: from the rate to 0, or, `one_cycle`, up to it over the first three tenths and down to 0 after."""
    done = epoch / training.epochs
    rise = 0.3 if training.schedule == "one_cycle" else 0.0
    if done < rise:
        return training.learning_rate * (0.04 + 0.96 * 0.5 * (1 - _cosine(done / rise)))
    return training.learning_rate * 0.5 * (1 + _cosine((done - rise) / (1 - rise)))


def _cosine(share: float) -> float:
    return torch.cos(torch.tensor(torch.pi * share)).item()


def _optimizer(training: Training, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=True, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, rate, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=decay)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def logits_of(network: nn.Module, split: Examples, batch_size: int = 500) -> Tensor:
    """Logits float32 [N, K] of every image of a split."""
    device = _device_of(network)
    with torch.no_grad():
        return torch.cat(
            [
                network(torch.from_numpy(split.pixels(i, i + batch_size)).to(device)).cpu()
                for i in range(0, len(split), batch_size)
            ]
        )


def accuracy(network: nn.Module, split: Examples) -> float:
    """Share of a split's images that the network gives their class."""
    return (logits_of(network, split).argmax(dim=1) == torch.from_numpy(split.classes)).float().mean().item()


def _robust_accuracy(network: nn.Module, split: Examples, training: Training) -> float | None:
    """Share of some images of a split that keep their class under PGD; None where training is not robust."""
    eps, steps = training.robust_eps, training.robust_steps
    if eps is None:
        return None
    chosen = _spread(len(split), training.robust_images)  # not the first ones: a folder's are all of one class
    device = _device_of(network)
    images, classes = torch.from_numpy(as_pixels(split.batch(chosen))), torch.from_numpy(split.classes[chosen])
    images = images.to(device)
    moved = pgd(network, images, classes.to(device), eps, steps=steps, step_size=2.5 * eps / steps)
    with torch.no_grad():
        return float((network(moved).argmax(dim=1).cpu() == classes).float().mean())


def _device_of(network: nn.Module) -> torch.device:
    return next((value.device for value in network.state_dict().values()), torch.device("cpu"))


def _spread(total: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, total - 1, min(total, count)).astype(np.int64)


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """The temperature, of 401 from 0.01 to 100, with the smallest cross entropy (Guo et al., arXiv 1706.04599)."""
    candidates = torch.logspace(-2, 2, 401)
    losses = torch.stack([functional.cross_entropy(logits / temperature, classes) for temperature in candidates])
    return round(candidates[losses.argmin()].item(), 4)
