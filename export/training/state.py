"""The state of a training: network, moving average, optimizer, best epoch; all that a checkpoint holds."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.training.checkpoint import TrainingError, load_checkpoint, save_checkpoint
from export.training.compute import Compute
from export.training.recipe import Training
from models.precision import Precision

BATCH_STATISTICS = ("running_mean", "running_var")
"""The names of batch norm's buffers that are averages themselves."""
SAVED = ("network", "kept", "optimizer", "epoch", "steps", "seconds", "best", "accuracy", "best_weights")
"""What every checkpoint has; later ones have more."""


@dataclass(frozen=True)
class Stage:
    """One network to train: a member, its twin to start from, or its teacher."""

    name: str
    precision: Precision
    seed: int
    training: Training
    path: Path


@dataclass(frozen=True)
class Done:
    """A finished stage: the network with its best weights."""

    network: nn.Sequential
    seconds: float


class TrainingState:
    """A stage under way: everything that a checkpoint holds."""

    def __init__(self, stage: Stage, source: str, network: nn.Sequential, compute: Compute) -> None:
        training, self.compute = stage.training, compute
        self.name, self.training, self._path = stage.name, training, stage.path
        self._identity = f"{source} {stage.precision} seed={stage.seed} {training}"
        self.network = network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kept = copy.deepcopy(network) if training.averaging else network
        self._optimizer = _optimizer(training, network)
        self.epoch, self._steps, self._seconds = 0, 0, 0.0
        self._best, self._accuracy = -1.0, 0.0
        self._highest = self._least = -1.0
        self._best_weights = _copied(self.kept)
        saved = load_checkpoint(stage.path, self._identity, SAVED)
        if saved is not None:
            self.network.load_state_dict(saved["network"])
            self.kept.load_state_dict(saved["kept"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self.epoch, self._steps, self._seconds = saved["epoch"], saved["steps"], saved["seconds"]
            self._best, self._accuracy, self._best_weights = saved["best"], saved["accuracy"], saved["best_weights"]
            # Checkpoints of 0.1 have neither: there the highest figure alone counted.
            self._highest, self._least = (saved.get(name, saved["best"]) for name in ("highest", "least"))

    def step(self, images: Tensor, classes: Tensor, index: int, batches: int, teacher: nn.Module | None) -> float:
        """One step of the optimizer on a batch of levels uint8 [B, C, H, W]."""
        epoch = self.epoch + index / batches
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.training, epoch)
        device = self.compute.device
        pixels = (images.to(device).float() / 255).to(memory_format=torch.channels_last)
        with self.compute.autocast():
            loss = self.training.objective(self.network, pixels, classes.to(device), epoch, teacher)
        if not torch.isfinite(loss):
            raise self._ended(f"the loss became {loss.item()}", f", batch {index + 1}")
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._steps += 1
        if self.training.averaging:
            self._average()
        return loss.item()

    def _average(self) -> None:
        """One step of the moving average; its decay grows to the recipe's, so that it forgets the random start.

        Averaged are what is learned and what batch norm has seen; other buffers, exponents and counts, have to be
        whole numbers.
        """
        share = 1 - min(self.training.averaging, self._steps / (self._steps + 20))
        learned = {name for name, _ in self.network.named_parameters()}
        now = self.network.state_dict()
        with torch.no_grad():
            for name, mean in self.kept.state_dict().items():
                if name in learned or name.endswith(BATCH_STATISTICS):
                    mean.lerp_(now[name], share)
                else:
                    mean.copy_(now[name])

    def finish_epoch(self, figure: float, error: float, value: float, seconds: float) -> None:
        """Write the checkpoint. Kept is the epoch with the best clean accuracy, `value`, of those whose `figure` is no
        more than the highest one's standard `error` below it.

        Under attack few validation images are tried: the highest of many figures is the luckiest as well, and often an
        early epoch's (the one-standard-error rule: Breiman et al., Classification and Regression Trees, 3.4.3). It is
        followed epoch by epoch: one that was passed over does not come back.
        Raises TrainingError, and leaves the checkpoint before it, if the epoch's last step spoilt a weight: no loss
        has shown that yet.
        """
        for name, weight in self.network.state_dict().items():
            if not torch.isfinite(weight).all():
                raise self._ended(f"{name} is not finite", ", after its last batch")
        self.epoch += 1
        self._seconds += seconds
        if figure > self._highest:
            self._highest, self._least = figure, figure - error
        if self._best < self._least or (figure >= self._least and value > self._accuracy):
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
                "highest": self._highest,
                "least": self._least,
                "accuracy": self._accuracy,
                "best_weights": self._best_weights,
            },
        )

    def _ended(self, what: str, where: str) -> TrainingError:
        return TrainingError(
            f"member {self.name}: {what} in epoch {self.epoch + 1} of {self.training.epochs}{where}; "
            "the checkpoint of the epoch before it, if there is one, stays. Chance is seeded, so going on from it ends "
            "here again: begin anew with a smaller learning rate, or another seed"
        )

    def best(self) -> Done:
        """What is kept of the stage."""
        self.kept.load_state_dict(self._best_weights)
        network = self.kept.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return Done(network.eval(), self._seconds)


def learning_rate(training: Training, epoch: float) -> float:
    """By cosines: from the rate to 0, or, `one_cycle`, up to it over the first three tenths and down to 0 after."""
    done = epoch / training.epochs
    rise = 0.3 if training.schedule == "one_cycle" else 0.0
    if done < rise:
        return training.learning_rate * (0.04 + 0.96 * 0.5 * (1 - _cosine(done / rise)))
    return training.learning_rate * 0.5 * (1 + _cosine((done - rise) / (1 - rise)))


def _cosine(share: float) -> float:
    return torch.cos(torch.tensor(torch.pi * share)).item()


def _optimizer(training: Training, network: nn.Module) -> torch.optim.Optimizer:
    """Of all that is learned; the logarithms of scales do not decay, as nothing speaks for a scale of 1."""
    learned = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    scales = [parameter for name, parameter in learned.items() if name.rpartition(".")[2].startswith("log")]
    others = [parameter for parameter in learned.values() if all(parameter is not scale for scale in scales)]
    parameters: list[dict[str, Any]] = [
        {"params": others},
        *([{"params": scales, "weight_decay": 0.0}] if scales else []),
    ]
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
