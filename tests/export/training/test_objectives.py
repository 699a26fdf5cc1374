"""export/training/objectives.py on a linear classifier of two classes, where every loss and every attack is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import softplus

from export.training.objectives import (
    Adversarial,
    CrossEntropy,
    Distillation,
    Fgsm,
    GradientPenalty,
    NoiseFgsm,
    pgd,
)

SIZE = 6
SEEDS = st.integers(0, 2**32 - 1)


class Linear(nn.Module):
    """Logits 0 and w . x + b of images [N, 1, 1, SIZE]: the cross entropy is softplus of their margin, negated."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(SIZE, generator=generator))
        self.bias = nn.Parameter(torch.randn((), generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        logit = images.flatten(1) @ self.weight + self.bias
        return torch.stack([torch.zeros_like(logit), logit], dim=1)

    def loss(self, images: Tensor, classes: Tensor, temperature: float = 1.0) -> Tensor:
        """Of each image, from the formula."""
        return softplus(-self._sign(classes) * self.forward(images)[:, 1] / temperature)

    def worst(self, images: Tensor, classes: Tensor, eps: float) -> Tensor:
        """The image in the Linf ball, and in [0, 1], with the largest loss."""
        away = -self._sign(classes)[:, None] * self.weight.sign()
        return (images + eps * away.view_as(images)).clamp(0, 1)

    @staticmethod
    def _sign(classes: Tensor) -> Tensor:
        return (2 * classes - 1).float()


def batch(seed: int, count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 1, SIZE, generator=generator), torch.randint(0, 2, (count,), generator=generator)


@given(seed=SEEDS, temperature=st.sampled_from([0.5, 1.0, 20.0]))
def test_cross_entropy_over_a_temperature(seed: int, temperature: float) -> None:
    network, (images, classes) = Linear(seed), batch(seed)
    found = CrossEntropy(temperature)(network, images, classes, 0.0, None)
    torch.testing.assert_close(found, network.loss(images, classes, temperature).mean())


@settings(max_examples=30)
@given(seed=SEEDS, eps=st.floats(0.01, 0.5))
def test_pgd_reaches_the_corner_of_the_ball(seed: int, eps: float) -> None:
    network, (images, classes) = Linear(seed), batch(seed)
    moved = pgd(network, images, classes, eps, steps=8, step_size=eps / 2)
    torch.testing.assert_close(moved, network.worst(images, classes, eps))


@settings(max_examples=30)
@given(seed=SEEDS, eps=st.floats(0.01, 0.5))
def test_the_losses_of_adversarial_training_are_those_of_the_worst_images(seed: int, eps: float) -> None:
    network, (images, classes) = Linear(seed), batch(seed)
    clean, worst = (network.loss(each, classes).mean() for each in (images, network.worst(images, classes, eps)))
    fgsm = Fgsm(eps)(network, images, classes, 0.0, None)
    torch.testing.assert_close(fgsm, (clean + worst) / 2)
    torch.testing.assert_close(Adversarial(eps, steps=8, step=0.5)(network, images, classes, 0.0, None), worst)


@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.0), (1.0, 0.5), (2.0, 1.0), (9.0, 1.0)])
def test_the_radius_grows_over_the_first_epochs(epoch: float, share: float) -> None:
    network, (images, classes) = Linear(0), batch(0)
    found = Adversarial(0.2, steps=8, step=0.5, ramp_epochs=2)(network, images, classes, epoch, None)
    torch.testing.assert_close(found, network.loss(network.worst(images, classes, 0.2 * share), classes).mean())


@pytest.mark.parametrize(("epoch", "asked"), [(0.0, 2), (2.9, 2), (3.0, 7)])
def test_fewer_steps_are_taken_early(epoch: float, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, float]] = []

    def watch(*arguments: object) -> Tensor:
        _, images, _, _, count, size = arguments
        assert isinstance(images, Tensor) and isinstance(count, int) and isinstance(size, float)
        steps.append((count, size))
        return images

    monkeypatch.setattr("export.training.objectives.pgd", watch)
    objective = Adversarial(0.2, steps=7, step=0.1, early_epochs=3, early_steps=2, early_step=0.5)
    objective(Linear(0), *batch(0), epoch, None)
    ((count, size),) = steps
    assert (count, size) == (asked, 0.2 * (0.5 if asked == 2 else 0.1))


@settings(max_examples=30)
@given(seed=SEEDS, eps=st.floats(0.01, 0.2))
def test_noise_fgsm_steps_from_noise_and_is_not_projected(seed: int, eps: float) -> None:
    network, (images, classes) = Linear(seed), batch(seed)
    torch.manual_seed(seed)
    noise = (2 * torch.rand_like(images) - 1) * 2 * eps
    step = network.worst(torch.full_like(images, 0.5), classes, eps) - 0.5
    torch.manual_seed(seed)
    found = NoiseFgsm(eps)(network, images, classes, 0.0, None)
    moved = (images + noise + step).clamp(0, 1)
    torch.testing.assert_close(found, network.loss(moved, classes).mean(), rtol=1e-4, atol=1e-5)


@given(seed=SEEDS, temperature=st.sampled_from([1.0, 10.0, 100.0]))
def test_distillation_is_the_cross_entropy_with_the_teachers_probabilities(seed: int, temperature: float) -> None:
    network, teacher, (images, classes) = Linear(seed), Linear(seed // 2 + 1), batch(seed)
    share = torch.sigmoid(teacher(images)[:, 1] / temperature)
    expected = share * network.loss(images, torch.ones_like(classes), temperature) + (1 - share) * network.loss(
        images, torch.zeros_like(classes), temperature
    )
    found = Distillation(temperature)(network, images, classes, 0.0, teacher)
    torch.testing.assert_close(found, expected.mean())
    found.backward()  # type: ignore[no-untyped-call]
    assert teacher.weight.grad is None and network.weight.grad is not None


def test_distillation_needs_a_teacher() -> None:
    with pytest.raises(ValueError, match="distillation: expected a recipe with a teacher"):
        Distillation(10)(Linear(0), *batch(0), 0.0, None)


@given(seed=SEEDS, weight=st.floats(0, 10))
def test_the_gradient_penalty_is_the_squared_length_of_each_images_gradient(seed: int, weight: float) -> None:
    """d softplus(-m)/dx is -sigmoid(-m) w, up to its sign."""
    network, (images, classes) = Linear(seed), batch(seed)
    loss = network.loss(images, classes)
    slope = 1 - (-loss).exp()  # sigmoid(-m), because softplus(-m) = -log(1 - sigmoid(-m))
    expected = loss.mean() + weight * (slope.square() * network.weight.square().sum()).mean()
    found = GradientPenalty(weight)(network, images, classes, 0.0, None)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", [Fgsm(0.1), NoiseFgsm(0.1), Adversarial(0.1, steps=3, step=0.5)], ids=repr)
def test_an_attack_leaves_batch_norm_and_what_is_trained_alone(objective: Fgsm | NoiseFgsm | Adversarial) -> None:
    """Statistics see the images that are learned from, once each, and none of those on the way."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(1)
    network = nn.Sequential(norm, nn.Flatten(), nn.Linear(SIZE, 2)).train()
    network[2].weight.requires_grad_(False)
    objective(network, *batch(0), 0.0, None)
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == (2 if isinstance(objective, Fgsm) else 1)
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, True]
