"""What a network in torch makes of the images of a split: logits, accuracy, accuracy under attack, temperature."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.data.examples import Examples, as_pixels, in_turn
from export.training.objectives import pgd
from export.training.recipe import Training


def logits_of(network: nn.Module, split: Examples, batch_size: int = 500) -> Tensor:
    """Logits float32 [N, K] of every image of a split."""
    device = _device_of(network)
    with torch.no_grad():
        return torch.cat([network(torch.from_numpy(images).to(device)).cpu() for images in in_turn(split, batch_size)])


def accuracy(network: nn.Module, split: Examples) -> float:
    """Share of a split's images that the network gives their class."""
    return (logits_of(network, split).argmax(dim=1) == torch.from_numpy(split.classes)).float().mean().item()


def robust_accuracy(network: nn.Module, split: Examples, training: Training) -> float | None:
    """Share of some images of a split that keep their class under PGD; None where training is not robust."""
    eps, steps = training.robust_eps, training.robust_steps
    if eps is None:
        return None
    chosen = spread(len(split), training.robust_images)  # not the first ones: a folder's are all of one class
    device = _device_of(network)
    images, classes = torch.from_numpy(as_pixels(split.batch(chosen))), torch.from_numpy(split.classes[chosen])
    images = images.to(device)
    moved = pgd(network, images, classes.to(device), eps, steps=steps, step_size=2.5 * eps / steps)
    with torch.no_grad():
        return float((network(moved).argmax(dim=1).cpu() == classes).float().mean())


def _device_of(network: nn.Module) -> torch.device:
    return next((value.device for value in network.state_dict().values()), torch.device("cpu"))


def spread(total: int, count: int) -> NDArray[np.int64]:
    """At most `count` of the indices 0 to total - 1, evenly spread."""
    return np.linspace(0, total - 1, min(total, count)).astype(np.int64)


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """The temperature, of 401 from 0.01 to 100, with the smallest cross entropy (Guo et al., arXiv 1706.04599)."""
    candidates = torch.logspace(-2, 2, 401)
    losses = torch.stack([functional.cross_entropy(logits / temperature, classes) for temperature in candidates])
    return round(candidates[losses.argmin()].item(), 4)
