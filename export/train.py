"""Train one member: epochs, validation, checkpoints."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.data import DataSet, Split
from export.recipes import MemberRecipe, Recipe
from models.layers import freeze
from models.precision import Precision
from runtime.errors import EmpirError


class TrainingError(EmpirError):
    """Training that cannot go on."""

    code = "training_failed"


@dataclass(frozen=True)
class Progress:
    """What training tells the outside after every batch; `accuracy` (validation) once an epoch, at its end."""

    member: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float | None = None


@dataclass
class Trained:
    """A trained member: the network with the weights of its best epoch on the validation images, frozen."""

    recipe: MemberRecipe
    network: nn.Sequential
    validation_accuracy: float
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

    Chance (the order of images, stochastic rounding) is seeded by member and epoch, so an interrupted run ends with
    the weights of an uninterrupted one.
    `stop_after` ends early, after that many epochs. Raises TrainingError if the loss is not finite; the last
    checkpoint stays.
    """
    state = _State(recipe, member, checkpoint)
    images, classes = torch.from_numpy(data.train.images), torch.from_numpy(data.train.classes)
    while state.epoch < (recipe.epochs if stop_after is None else min(stop_after, recipe.epochs)):
        start = time.monotonic()
        torch.manual_seed(member.seed * 1_000_003 + state.epoch)
        batches = torch.randperm(len(data.train)).split(recipe.batch_size)  # type: ignore[no-untyped-call]
        state.network.train()
        loss = 0.0
        for index, batch in enumerate(batches):
            loss = _step(state, images[batch].float() / 255, classes[batch], state.epoch + index / len(batches))
            report(Progress(member.name, state.epoch + 1, recipe.epochs, index + 1, len(batches), loss))
        value = accuracy(state.network.eval(), data.validation)
        state.finish_epoch(value, time.monotonic() - start)
        report(Progress(member.name, state.epoch, recipe.epochs, len(batches), len(batches), loss, value))
    return state.best(member)


class _State:
    """Everything that a checkpoint holds."""

    def __init__(self, recipe: Recipe, member: MemberRecipe, path: Path) -> None:
        torch.manual_seed(member.seed)
        self.member = member.name
        self.network = recipe.network(Precision.parse(member.precision))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.epoch, self.epochs, self.rate = 0, recipe.epochs, recipe.learning_rate
        self.best_accuracy, self.best_weights = -1.0, self.network.state_dict()
        self.seconds = 0.0
        self._path = path
        self._identity = (
            f"{recipe.name} {member} epochs={recipe.epochs} batch={recipe.batch_size} rate={recipe.learning_rate}"
        )
        if path.exists():
            self._resume(_load(path))

    def _resume(self, saved: dict[str, Any]) -> None:
        if saved["identity"] != self._identity:
            raise TrainingError(
                f"{self._path}: expected a checkpoint of {self._identity}, got {saved['identity']}; "
                "delete it to start anew"
            )
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.epoch, self.seconds = saved["epoch"], saved["seconds"]
        self.best_accuracy, self.best_weights = saved["best_accuracy"], saved["best_weights"]

    def finish_epoch(self, value: float, seconds: float) -> None:
        self.epoch += 1
        self.seconds += seconds
        if value > self.best_accuracy:
            self.best_accuracy = value
            self.best_weights = {name: weight.detach().clone() for name, weight in self.network.state_dict().items()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        torch.save(
            {
                "identity": self._identity,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "epoch": self.epoch,
                "seconds": self.seconds,
                "best_accuracy": self.best_accuracy,
                "best_weights": self.best_weights,
            },
            partial,
        )
        os.replace(partial, self._path)

    def best(self, member: MemberRecipe) -> Trained:
        self.network.load_state_dict(self.best_weights)
        return Trained(member, freeze(self.network), self.best_accuracy, self.seconds)


def _load(path: Path) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises whatever a damaged file makes it trip over
        raise TrainingError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); delete it to start anew"
        ) from error
    return saved


def _step(state: _State, images: Tensor, classes: Tensor, epoch: float) -> float:
    """One Adam step on a batch; the learning rate follows a cosine from `rate` to 0 over all epochs."""
    for group in state.optimizer.param_groups:
        group["lr"] = state.rate * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * epoch / state.epochs)).item())
    loss = functional.cross_entropy(state.network(images), classes)
    if not torch.isfinite(loss):
        raise TrainingError(
            f"member {state.member}: the loss became {loss.item()} in epoch {state.epoch + 1} of {state.epochs}; "
            "the checkpoint of the epoch before it, if there is one, stays"
        )
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return loss.item()


def logits_of(network: nn.Module, split: Split, batch_size: int = 500) -> Tensor:
    """Logits float32 [N, K] of every image of a split."""
    with torch.no_grad():
        return torch.cat(
            [network(torch.from_numpy(split.pixels(i, i + batch_size))) for i in range(0, len(split), batch_size)]
        )


def accuracy(network: nn.Module, split: Split) -> float:
    """Share of a split's images that the network gives their class."""
    return (logits_of(network, split).argmax(dim=1) == torch.from_numpy(split.classes)).float().mean().item()


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """The temperature, of 401 from 0.01 to 100, with the smallest cross entropy (Guo et al., arXiv 1706.04599)."""
    candidates = torch.logspace(-2, 2, 401)
    losses = torch.stack([functional.cross_entropy(logits / temperature, classes) for temperature in candidates])
    return round(candidates[losses.argmin()].item(), 4)
