"""The victim: gradients through the members, and what was asked of it."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from robustness.evaluation.soundness import zero_gradients
from robustness.victim import Array, Spent, Victim
from runtime.bundle import MANIFEST, load_bundle
from runtime.ensemble import Ensemble
from runtime.errors import BundleError, InvalidValue
from tests.linear_victim import MAJORITY, linear_victim
from tests.toy_bundle import ToyBundle
from tests.toys import LinearMember


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


def test_a_member_alone_is_its_own_vote(toy: ToyBundle, victim: Victim) -> None:
    """The same member with its own gradient, asked on its own account."""
    whole, cotangents = victim.predict(toy.images), np.zeros((3, len(toy.images), 4), np.float32)
    cotangents[1, :, 2] = 1
    gradient = victim.gradient(toy.images, cotangents)
    single = victim.alone(1)
    prediction = single.predict(toy.images)
    np.testing.assert_array_equal(prediction.logits, whole.logits[1:2])
    np.testing.assert_array_equal(prediction.verdict, whole.votes[1])
    np.testing.assert_array_equal(single.gradient(toy.images, cotangents[1:2]), gradient)
    assert (single.n_members, single.temperatures.tolist()) == (1, [victim.temperatures[1]])
    assert (single.spent.queries, victim.spent.queries) == (len(toy.images), len(toy.images))
    single.close()


def test_a_member_without_a_gradient_graph_can_be_asked_but_not_climbed(toy: ToyBundle, toy_copy: Path) -> None:
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    del manifest["members"][1]["gradient_file"], manifest["members"][1]["gradient_sha256"]
    (toy_copy / MANIFEST).write_text(json.dumps(manifest))
    victim = Victim.of_bundle(load_bundle(toy_copy, gradients=True))
    assert victim.differentiable == [True, False, True]
    assert victim.predict(toy.images).status == [["ok"] * len(toy.images)] * 3
    cotangents = np.zeros((3, len(toy.images), 4), np.float32)
    cotangents[[0, 2], :, 1] = 1
    assert victim.gradient(toy.images, cotangents).any()
    cotangents[1, 3, 1] = 1
    for refused in (lambda: victim.gradient(toy.images, cotangents), victim.require_gradients):
        with pytest.raises(
            InvalidValue, match=r"^member w2a4-b has no gradient graph: expected an attack that only asks"
        ):
            refused()
    victim.close()


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_counts_as_nothing_and_is_counted(
    toy: ToyBundle, victim: Victim, spoilt: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Member 1 spoils one pixel of image 2: the other members' gradients there, and all others, stay."""
    cotangents = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
    without = cotangents.copy()
    without[1, 2] = 0
    expected = victim.gradient(toy.images[:5], without)
    graph = victim._gradients[1]
    assert graph is not None
    original = graph.gradient

    def overflowing(images: Array, cotangents: Array) -> tuple[Array, Array]:
        logits, gradient = original(images, cotangents)
        gradient[(images == toy.images[2]).all(axis=(1, 2, 3)), 0, 3, 3] = spoilt
        return logits, gradient

    monkeypatch.setattr(graph, "gradient", overflowing)
    victim.spent = Spent()
    np.testing.assert_allclose(victim.gradient(toy.images[:5], cotangents), expected, atol=1e-5)
    assert (victim.spent.gradient_calls, victim.spent.not_finite) == (15, 1)
    shares = zero_gradients(victim, toy.images[:5], toy.classes[:5], "linf", 0.1, seed=0)
    assert [share.count for share in shares.values()] == [0, 1, 0]


class DeadInNoise(LinearMember):
    """Its gradient is 0 wherever an image is not even."""

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        logits, gradient = super().gradient(images, cotangents)
        return logits, gradient * (images.std(axis=(1, 2, 3), keepdims=True) == 0)


def test_a_gradient_that_is_0_where_an_attack_may_start_is_noticed() -> None:
    sound = linear_victim([[(0, 9, 9)] * 4] * 3, [(1, 0, 0)] * 3)
    members = [member for member in sound.ensemble.members if isinstance(member, LinearMember)]
    dead = DeadInNoise("low-a", members[0].precision, members[0].weight, members[0].bias)
    victim = Victim(Ensemble([dead, *members[1:]], MAJORITY, 3), [dead, *members[1:]])
    grey, cat = np.full((2, 1, 8, 8), 0.5, np.float32), np.zeros(2, np.int64)
    shares = zero_gradients(victim, grey, cat, "linf", 0.1, seed=0)
    assert {name: share.count for name, share in shares.items()} == {"low-a": 2, "low-b": 0, "fp32": 0}
