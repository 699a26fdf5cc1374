"""The victim: gradients through the members, and what was asked of it."""

import time

import numpy as np
import pytest
import torch

from robustness.victim import Victim
from runtime.bundle import load_bundle
from runtime.errors import BundleError
from tests.toy_bundle import ToyBundle


def test_the_gradient_is_the_sum_over_members(toy: ToyBundle, victim: Victim) -> None:
    cotangents = np.random.default_rng(0).standard_normal((3, len(toy.images), 4)).astype(np.float32)
    cotangents[1, ::2] = 0
    images = torch.from_numpy(toy.images).requires_grad_()
    pushed = [(n(images) * torch.from_numpy(c)).sum() for n, c in zip(toy.networks, cotangents, strict=True)]
    (expected,) = torch.autograd.grad(torch.stack(pushed).sum(), images)
    found = victim.gradient(toy.images, cotangents)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4 * expected.abs().max().item())


def test_what_was_asked_is_counted(toy: ToyBundle, victim: Victim) -> None:
    victim.predict(toy.images[:5])
    victim.predict(toy.images[:1])
    cotangents = np.zeros((3, 5, 4), np.float32)
    victim.gradient(toy.images[:5], cotangents)
    assert (victim.spent.queries, victim.spent.gradient_calls) == (6, 0)
    cotangents[0, :, 1] = cotangents[2, 3, 0] = 1
    victim.gradient(toy.images[:5], cotangents)
    assert victim.spent.gradient_calls == 6


def test_a_slow_machine_is_no_attack(toy: ToyBundle, victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that is late would have no vote, and an attack take the missing verdict for a success."""
    now = iter(range(0, 10**9, 60))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    prediction = victim.predict(toy.images[:2])
    assert min(prediction.seconds) >= 60
    assert prediction.status == [["ok", "ok"]] * 3


def test_a_bundle_read_without_gradients_is_refused(toy: ToyBundle) -> None:
    with pytest.raises(BundleError, match=r"read without its gradient graphs"):
        Victim.of_bundle(load_bundle(toy.folder))
