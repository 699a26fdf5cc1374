"""What training minimises: the plain loss, and the defences that work by changing it.

An objective is called with the network in training mode, images float32 [N, C, H, W] in [0, 1], classes int64 [N], the
epoch as a number that grows within it, and the teacher, if the recipe has one. It returns the loss, a scalar.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class Objective(Protocol):
    """A loss to minimise, with its parameters."""

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor: ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy of the logits over `temperature`."""

    temperature: float = 1.0

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor:
        return functional.cross_entropy(network(images) / self.temperature, classes)


@dataclass(frozen=True)
class Adversarial:
    """Cross entropy on the images that PGD finds in an Linf ball (Madry et al., arXiv 1706.06083).

    The radius grows from 0 to `eps` over `ramp_epochs`; `step` is in units of it. `early_steps` steps, of `early_step`,
    are taken before `early_epochs`: as long as the network is easy to fool they do as well.
    """

    eps: float
    steps: int
    step: float
    ramp_epochs: float = 0.0
    early_epochs: float = 0.0
    early_steps: int = 0
    early_step: float = 0.0

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor:
        eps = self.eps * min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs else self.eps
        early = epoch < self.early_epochs
        steps, step = (self.early_steps, self.early_step) if early else (self.steps, self.step)
        return functional.cross_entropy(network(pgd(network, images, classes, eps, steps, step * eps)), classes)


@dataclass(frozen=True)
class NoiseFgsm:
    """Cross entropy on images moved by noise of up to `noise` x eps and then, by one step, eps (N-FGSM).

    de Jorge et al., arXiv 2202.01181: the noise is twice the radius and nothing is projected, which keeps one-step
    training from overfitting catastrophically.
    """

    eps: float
    noise: float = 2.0

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor:
        noisy = images + (2 * torch.rand_like(images) - 1) * self.noise * self.eps
        with _steady(network):
            moved = noisy + self.eps * _gradient(network, noisy, classes).sign()
        return functional.cross_entropy(network(moved.clamp(0, 1)), classes)


@dataclass(frozen=True)
class Fgsm:
    """Mean cross entropy of the images and of what FGSM makes of them (Goodfellow et al., arXiv 1412.6572)."""

    eps: float

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor:
        with _steady(network):
            moved = (images + self.eps * _gradient(network, images, classes).sign()).clamp(0, 1)
        losses = [functional.cross_entropy(network(each), classes) for each in (images, moved)]
        return (losses[0] + losses[1]) / 2


@dataclass(frozen=True)
class Distillation:
    """Cross entropy with the teacher's probabilities, both at `temperature` (Papernot et al., arXiv 1511.04508)."""

    temperature: float

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor:
        if teacher is None:
            raise ValueError("distillation: expected a recipe with a teacher")
        with torch.no_grad():
            soft = functional.softmax(teacher(images) / self.temperature, dim=1)
        return functional.cross_entropy(network(images) / self.temperature, soft)


@dataclass(frozen=True)
class GradientPenalty:
    """Cross entropy plus `weight` times the squared length of its gradient by the image.

    Ross and Doshi-Velez, arXiv 1711.09404.
    """

    weight: float

    def __call__(
        self, network: nn.Module, images: Tensor, classes: Tensor, epoch: float, teacher: nn.Module | None
    ) -> Tensor:
        images = images.detach().requires_grad_()
        loss = functional.cross_entropy(network(images), classes)
        (gradient,) = torch.autograd.grad(loss * len(images), images, create_graph=True)
        penalty: Tensor = loss + self.weight * gradient.flatten(1).square().sum(dim=1).mean()
        return penalty


def pgd(network: nn.Module, images: Tensor, classes: Tensor, eps: float, steps: int, step_size: float) -> Tensor:
    """Images within eps (Linf) of `images` and in [0, 1], after `steps` steps up the cross entropy from a random start.

    For training, and to watch it: figures come from the attacks in `robustness`, on the served graphs.
    """
    moved = (images + (2 * torch.rand_like(images) - 1) * eps).clamp(0, 1)
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    with _steady(network):
        for _ in range(steps):
            moved = (moved + step_size * _gradient(network, moved, classes).sign()).clamp(low, high)
    return moved


def _gradient(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    loss = functional.cross_entropy(network(images), classes, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return gradient


@contextmanager
def _steady(network: nn.Module) -> Iterator[None]:
    """The network in eval mode, its weights without gradients: an attack leaves batch norm's statistics alone."""
    mode, wanted = network.training, [p for p in network.parameters() if p.requires_grad]
    network.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        network.train(mode)
        for parameter in wanted:
            parameter.requires_grad_(True)
