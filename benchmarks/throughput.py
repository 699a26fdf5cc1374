"""How fast the adaptive attack is on the served gradient graphs, against the same attack in PyTorch."""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.context import Context
from benchmarks.figure import Figure, spread
from export.graphs.restore import restore
from export.training.recipes import RECIPES
from robustness.attacks.climb import Schedule, climb
from robustness.losses.goals import ANY_OTHER, as_asked
from robustness.losses.over_members import mean_probability
from robustness.victim import Victim

BUNDLE = "mnist"
IMAGES = 256
STEPS = 40
EPS = 0.01
"""So small that no image falls and both sides take every step on all of them."""
ROUNDS = 5
LEAST_RATIO = 1.3


def throughput(context: Context) -> list[Figure]:
    """PGD-40 on the mean probability of all members, batch 256, two threads; both sides in turn in every round.

    PyTorch runs the same frozen members, channels-last, by the faster of float32 and bfloat16.
    """
    bundle = context.of(BUNDLE)
    victim = Victim.of_bundle(bundle.bundle)
    images, classes = bundle.test.pixels(0, 2 * IMAGES), bundle.test.classes[: 2 * IMAGES]
    right = np.flatnonzero(victim.predict(images).verdict == classes)[:IMAGES]
    images, classes = images[right], classes[right]
    recipe = RECIPES[bundle.bundle.manifest.provenance.recipe]
    networks = [
        restore(recipe, bundle.bundle, member).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for member in bundle.bundle.manifest.members
    ]
    _served(victim, images, classes)
    for half in (False, True):
        _torch(networks, victim.temperatures, images[:8], classes[:8], half)  # not the first call of either is timed
    half = _torch(networks, victim.temperatures, images, classes, True) < _torch(
        networks, victim.temperatures, images, classes, False
    )
    ratios, ours = [], []
    for _ in range(ROUNDS):
        seconds = _served(victim, images, classes)
        ours.append(IMAGES / seconds)
        ratios.append(_torch(networks, victim.temperatures, images, classes, half) / seconds)
    text = f"{spread(ratios)}; {np.median(ours):.0f} images/s; PyTorch in {'bfloat16' if half else 'float32'}"
    what = "PGD-40 on the gradient graphs over PyTorch, images/s"
    return [Figure(what, "at least 1.3", text, float(np.median(ratios)) >= LEAST_RATIO)]


def _served(victim: Victim, images: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    schedule = Schedule("linf", EPS, STEPS, 2.5 * EPS / STEPS, random_start=True)
    start = time.perf_counter()
    goals = as_asked(classes, np.full(len(classes), ANY_OTHER))
    climb(victim, images, goals, mean_probability(victim.temperatures), schedule, np.random.default_rng(0))
    return time.perf_counter() - start


def _torch(
    networks: list[nn.Sequential],
    temperatures: NDArray[np.float64],
    images: NDArray[np.float32],
    classes: NDArray[np.int64],
    half: bool,
) -> float:
    """Seconds of the attack as one writes it in PyTorch; the vote is taken from the same forward pass."""
    labels = torch.from_numpy(classes)
    start = time.perf_counter()
    clean = torch.from_numpy(images).to(memory_format=torch.channels_last)
    moved = (clean + (2 * torch.rand_like(clean) - 1) * EPS).clamp(0, 1)
    for _ in range(STEPS + 1):
        moved.requires_grad_(True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = [network(moved).float() for network in networks]
        probs = [(z / t).softmax(dim=1) for z, t in zip(logits, temperatures.tolist(), strict=True)]
        _fallen(logits, labels)
        value: Tensor = torch.stack([p.gather(1, labels[:, None]) for p in probs]).mean(dim=0).sum()
        (gradient,) = torch.autograd.grad(value, moved)
        step = moved.detach() - 2.5 * EPS / STEPS * gradient.sign()
        moved = torch.minimum(torch.maximum(step, clean - EPS), clean + EPS).clamp(0, 1)
    return time.perf_counter() - start


def _fallen(logits: list[Tensor], labels: Tensor) -> Tensor:
    """[N]: whether the members' majority, or the first one's class without one, is not the label."""
    votes = torch.stack([z.argmax(dim=1) for z in logits])
    return (votes == labels).sum(dim=0) * 2 <= len(logits)
