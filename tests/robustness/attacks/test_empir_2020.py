"""The paper's own attacks: their gradient against one in torch, softmax applied twice, and what their last step is."""

from typing import Any

import numpy as np
import pytest
import torch

from robustness.attacks.empir_2020 import Empir2020
from robustness.victim import Victim
from runtime.vote import softmax
from tests.linear_victim import linear_victim
from tests.toy_bundle import ToyBundle
from tests.toys import Array


def in_torch(toy: ToyBundle, image: Array, label: int, member: int | None) -> Array:
    """The gradient of the paper's loss at one image [1, C, H, W], as its code has it."""
    pixels = torch.from_numpy(image).requires_grad_()
    logits = [network(pixels) for network in toy.networks]
    if member is not None:
        loss = torch.nn.functional.cross_entropy(logits[member], torch.tensor([label]))
    else:
        votes = [int(each.argmax()) for each in logits]
        verdict = next((vote for vote in votes if votes.count(vote) > 1), votes[-1])
        probs = [torch.softmax(each, dim=1) for each, vote in zip(logits, votes, strict=True) if vote == verdict]
        loss = torch.nn.functional.cross_entropy(torch.stack(probs).mean(dim=0), torch.tensor([label]))
    (gradient,) = torch.autograd.grad(loss, pixels)
    return np.asarray(gradient)


@pytest.mark.parametrize("member", [None, 2], ids=["agreeing members", "fp32 alone"])
def test_one_step_goes_where_the_papers_loss_grows(toy: ToyBundle, victim: Victim, member: int | None) -> None:
    images, labels = toy.images[:8], victim.predict(toy.images[:8]).verdict
    name = None if member is None else toy.manifest.members[member].name
    attack = Empir2020("fgsm", 0.05, 1, 0.05, random_start=False, member=name)
    found = attack.run(victim, images, labels, np.random.default_rng(0))
    assert sorted(found) == list(range(8))
    for row in range(8):
        gradient = in_torch(toy, images[row : row + 1], int(labels[row]), member)[0]
        sure = np.abs(gradient) > 1e-3 * np.abs(gradient).max()
        wanted = (images[row] + 0.05 * np.sign(gradient)).clip(0, 1)
        assert sure.mean() > 0.5
        np.testing.assert_allclose(found[row].image[sure], wanted[sure], atol=1e-6)


def test_it_stays_in_the_ball_and_gives_every_last_iterate(toy: ToyBundle, victim: Victim) -> None:
    images, labels = toy.images, victim.predict(toy.images).verdict
    attack = Empir2020("pgd", 0.1, 12, 0.03, random_start=True)
    found = attack.run(victim, images, labels, np.random.default_rng(0))
    last = np.stack([found[row].image for row in range(len(images))])
    assert np.abs(last - images).max() <= 0.1 + 1e-6 and last.min() >= 0 and last.max() <= 1
    assert np.abs(last - images).max() > 0.09


def test_where_all_agreeing_members_are_sure_it_stands_still() -> None:
    """Softmax twice and float32: an attack that knew better would move."""
    sure: Any = [(0, 900, 0)] * 4
    victim = linear_victim([sure] * 3, [(300, 0, 0)] * 3)
    images = np.full((1, 1, 8, 8), 0.5, np.float32)
    found = Empir2020("fgsm", 0.4, 1, 0.4, random_start=False).run(
        victim, images, np.array([0]), np.random.default_rng(0)
    )
    assert (found[0].image == images[0]).all()
    assert softmax(victim.predict(images).logits, np.float32(1)).max() == 1
    assert victim.predict(images + np.float32(0.4)).verdict.tolist() == [1]
    victim.close()
