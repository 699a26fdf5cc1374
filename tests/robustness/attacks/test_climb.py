"""The gradient attack's loop: PGD against one written in plain torch, and what success means."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from robustness.attacks.attack import Found
from robustness.attacks.climb import Schedule, climb, succeeded
from robustness.losses.goals import ANY_OTHER, Goals, as_asked, every_class
from robustness.losses.loss_names import make_loss
from robustness.losses.over_members import Cotangents, Values, mean_probability
from robustness.norms import NORMS, NormName
from robustness.victim import Victim
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from tests.linear_victim import QUARTER, linear_victim, planted_victim
from tests.toy_bundle import ToyBundle
from tests.toys import Array


@dataclass
class PlainPgd:
    """PGD on the mean probability of all members, for one image, as a textbook has it."""

    toy: ToyBundle
    norm: NormName
    eps: float
    step_size: float
    steps: int

    def run(self, image: Tensor, start: Tensor, label: int, target: int) -> tuple[int, Tensor] | None:
        """The step of the first success and its image [1, C, H, W], if there is one."""
        delta = start
        for step in range(self.steps + 1):
            adversarial = (image + self.projected(delta)).clamp(0, 1)
            verdict = self.verdict(adversarial)
            if verdict != label if target == ANY_OTHER else verdict == target:
                return step, adversarial
            delta = adversarial + self.step_size * self.direction(adversarial, label, target) - image
        return None

    def verdict(self, image: Tensor) -> int:
        """The majority's class, or the full-precision member's, the last."""
        with torch.no_grad():
            votes = [int(network(image).argmax()) for network in self.toy.networks]
        return next((v for v in votes if votes.count(v) > 1), votes[-1])

    def direction(self, image: Tensor, label: int, target: int) -> Tensor:
        point = image.clone().requires_grad_()
        probs = [
            torch.softmax(network(point).double() / member.temperature, dim=1)[0]
            for network, member in zip(self.toy.networks, self.toy.manifest.members, strict=True)
        ]
        mean = torch.stack(probs).mean(dim=0)
        (gradient,) = torch.autograd.grad(-mean[label] if target == ANY_OTHER else mean[target], point)
        return gradient.sign() if self.norm == "linf" else gradient / gradient.norm()

    def projected(self, delta: Tensor) -> Tensor:
        if self.norm == "linf":
            return delta.clamp(-self.eps, self.eps)
        return delta * min(1.0, self.eps / float(delta.norm()))


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("norm", "eps", "step_size"), [("linf", 0.1, 0.004), ("l2", 0.55, 0.03)])
def test_pgd_is_the_textbooks_step_by_step(
    toy: ToyBundle, victim: Victim, norm: NormName, eps: float, step_size: float, targeted: bool
) -> None:
    images, labels, steps = toy.images[:8], toy.classes[:8], 50
    targets = (labels + 1) % 4 if targeted else np.full_like(labels, ANY_OTHER)
    found = climb(
        victim,
        images,
        as_asked(labels, targets),
        mean_probability(victim.temperatures),
        Schedule(norm, eps, steps, step_size, random_start=True),
        np.random.default_rng(0),
    )
    spawned = np.random.default_rng(0).spawn(len(images))
    starts = np.concatenate([NORMS[norm].random(images[:1].shape, eps, generator) for generator in spawned])
    plain = PlainPgd(toy, norm, eps, step_size, steps)
    for index, label in enumerate(labels):
        image, start = (torch.from_numpy(array[index : index + 1]) for array in (images, starts))
        expected = plain.run(image, start, int(label), int(targets[index]))
        if expected is None:
            assert index not in found
        else:
            assert (found[index].source, found[index].step) == (index, expected[0])
            np.testing.assert_allclose(found[index].image, expected[1][0].numpy(), atol=1e-5)
    many_steps = [each for each in found.values() if each.step > 5]
    assert many_steps and len(found) < len(labels), "the case should tell attacks apart"


def attack(
    victim: Victim, toy: ToyBundle, norm: NormName, eps: float, *, seed: int = 0, steps: int = 20, restarts: int = 1
) -> dict[int, Found]:
    """PGD on the mean probability, untargeted, from random starts."""
    goals = as_asked(toy.classes, np.full_like(toy.classes, ANY_OTHER)).repeated(restarts)
    schedule = Schedule(norm, eps, steps, 2.5 * eps / steps, random_start=True)
    return climb(
        victim, toy.images, goals, mean_probability(victim.temperatures), schedule, np.random.default_rng(seed)
    )


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("linf", 0.3), ("l2", 0.7), ("l2", 2.0)])
def test_what_is_found_is_in_the_ball_and_fools_what_is_served(
    toy: ToyBundle, victim: Victim, norm: NormName, eps: float
) -> None:
    found = attack(victim, toy, norm, eps)
    assert found
    sources = list(found)
    images = np.stack([found[source].image for source in sources])
    assert images.min() >= 0 and images.max() <= 1 and images.dtype == np.float32
    assert NORMS[norm].size(images - toy.images[sources]).max() <= eps * (1 + 1e-5)
    served = Ensemble.of_bundle(load_bundle(toy.folder))
    assert (served.predict(images).verdict != toy.classes[sources]).all()
    served.close()


def test_across_the_whole_range_every_image_falls(toy: ToyBundle, victim: Victim) -> None:
    assert len(attack(victim, toy, "linf", 1.0)) == len(toy.images)


def test_seeds_make_attacks_repeatable(toy: ToyBundle, victim: Victim) -> None:
    first, second, other = (attack(victim, toy, "linf", 0.2, seed=seed) for seed in (1, 1, 2))
    assert list(first) == list(second)
    assert all(np.array_equal(first[i].image, second[i].image) for i in first)
    assert not all(np.array_equal(first[i].image, other[i].image) for i in first if i in other)


def test_the_start_counts_and_a_fallen_image_is_left_alone(toy: ToyBundle, victim: Victim) -> None:
    """Every image but the first is called what it is not, so nothing but the first needs a step."""
    labels = (toy.classes + 1) % 4
    labels[0] = toy.classes[0]
    goals = as_asked(labels, np.full_like(labels, ANY_OTHER))
    schedule = Schedule("linf", 1e-3, steps=4, step_size=1e-3, random_start=False)
    found = climb(victim, toy.images, goals, mean_probability(victim.temperatures), schedule, np.random.default_rng(0))
    assert sorted(found) == list(range(1, len(labels)))
    assert {each.step for each in found.values()} == {0}
    assert all(np.array_equal(each.image, toy.images[each.source]) for each in found.values())
    assert victim.spent.queries == len(labels) + 4
    assert victim.spent.gradient_calls == 4 * 3


def test_all_trajectories_of_an_image_stop_at_its_first_success(toy: ToyBundle, victim: Victim) -> None:
    found = attack(victim, toy, "linf", 1.0, restarts=3)
    assert len(found) == len(toy.images)
    assert victim.spent.queries == sum(3 * (each.step + 1) for each in found.values())


def test_at_a_halving_the_trajectories_with_the_largest_loss_go_on(toy: ToyBundle, victim: Victim) -> None:
    """Two images, each with a trajectory to any other class (-1) and to three others; the loss is the class."""
    seen = []

    def loss(logits: Array, goals: Goals) -> tuple[Values, Cotangents]:
        seen.append(list(zip(goals.source.tolist(), goals.target.tolist(), strict=True)))
        return goals.target.astype(np.float64), np.zeros_like(logits)

    images, labels = toy.images[:2], toy.classes[:2]
    goals = every_class(labels, np.full(2, ANY_OTHER), np.zeros((3, 2, 4), np.float32))
    schedule = Schedule("linf", 1e-3, steps=5, step_size=1e-3, random_start=False)
    climb(victim, images, goals, loss, schedule, np.random.default_rng(0), halve_at=[1, 3])
    assert [sorted(step) for step in seen] == [
        [(0, -1), (0, 1), (0, 2), (0, 3), (1, -1), (1, 0), (1, 2), (1, 3)],
        [(0, -1), (0, 1), (0, 2), (0, 3), (1, -1), (1, 0), (1, 2), (1, 3)],
        [(0, 2), (0, 3), (1, 2), (1, 3)],
        [(0, 2), (0, 3), (1, 2), (1, 3)],
        [(0, 3), (1, 3)],
    ]
    assert victim.spent.queries == 8 + 8 + 4 + 4 + 2 + 2


def test_after_a_halving_each_trajectory_keeps_its_own_gradient() -> None:
    """Only the trajectory to dog goes up, to where the vote falls; it is neither the first nor the last."""
    victim = linear_victim([[(0, 10, 0)] * 4] * 3, [(2, 0, 1)] * 3)

    def loss(logits: Array, goals: Goals) -> tuple[Values, Cotangents]:
        is_dog = goals.target == 1
        cotangents = np.zeros_like(logits)
        cotangents[0, :, 1] = np.where(is_dog, 1, -1)
        return is_dog.astype(np.float64), cotangents

    image = np.full((1, 1, 8, 8), 0.5, np.float32)
    goals = every_class(np.array([0]), np.array([ANY_OTHER]), victim.predict(image).logits)
    assert goals.target.tolist() == [2, 1, ANY_OTHER]
    schedule = Schedule("linf", 0.1, steps=9, step_size=0.012, random_start=False)
    whole, halved = (
        climb(victim, image, goals, loss, schedule, np.random.default_rng(0), halve_at=steps) for steps in ((), (0, 1))
    )
    assert whole[0].step == halved[0].step == 5  # 0.05 brighter in 5 steps of 0.012
    np.testing.assert_array_equal(whole[0].image, halved[0].image)
    victim.close()


def test_time_stops_everything(toy: ToyBundle, victim: Victim) -> None:
    clock: Iterator[bool] = iter([False, False, True])
    goals = as_asked(toy.classes, np.full_like(toy.classes, ANY_OTHER))
    schedule = Schedule("linf", 1e-3, steps=100, step_size=1e-3, random_start=True)
    loss = mean_probability(victim.temperatures)
    climb(victim, toy.images, goals, loss, schedule, np.random.default_rng(0), out_of_time=lambda: next(clock))
    assert victim.spent.queries == 3 * len(toy.images)


def test_success_is_the_target_or_anything_but_the_label() -> None:
    goals = as_asked(np.zeros(5, np.int64), np.array([ANY_OTHER, ANY_OTHER, ANY_OTHER, 2, 2]))
    assert succeeded(np.array([0, 1, -1, 1, 2]), goals).tolist() == [False, True, True, False, True]


def planted(step: str) -> tuple[dict[int, Found], Array]:
    victim = planted_victim()
    image = np.full((1, 1, 8, 8), 0.5, np.float32)
    label, target = np.array([0]), np.array([ANY_OTHER])
    schedule = Schedule("linf", 0.1, steps=60, step_size=0.01, random_start=False)
    if step == "mean_probability":
        goals, loss = as_asked(label, target), mean_probability(victim.temperatures)
    else:
        goals = every_class(label, target, victim.predict(image).logits)
        loss = make_loss("joint_margin", victim).loss
    found = climb(victim, image, goals, loss, schedule, np.random.default_rng(0))
    victim.close()
    return found, image


def test_only_joint_goals_bring_two_members_to_the_same_wrong_class() -> None:
    """Pushed away from the label each falls into a class of its own, and the tie-breaker saves the vote."""
    assert not planted("mean_probability")[0]
    found, image = planted("joint")
    change = (found[0].image - image[0]).reshape(4, QUARTER).mean(axis=1)
    both_dog, both_eel = change > (1 / 30, -1, 0.09, -1), change > (-1, 0.09, -1, 1 / 30)
    assert both_dog.all() or both_eel.all()
