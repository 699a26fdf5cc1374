"""What the checks measure on the served graphs themselves: zero gradients, and planted adversarial examples."""

from functools import partial

import numpy as np

from robustness.attacks.attack import Labels
from robustness.attacks.registry import Settings, make_attack
from robustness.attacks.steppers import Ball
from robustness.evaluation.ledger import STANDS
from robustness.evaluation.worker import judge
from robustness.line import border
from robustness.losses.goals import ANY_OTHER, as_asked
from robustness.losses.over_members import alone
from robustness.norms import NORMS, NormName
from robustness.reporting.share import Share
from robustness.victim import Array, Victim

PLANT_STEPS = 20
MINIMISING: dict[NormName, tuple[str, ...]] = {"linf": (), "l2": ("cw-l2", "deepfool")}
"""By norm, the attacks of the suites that look for the smallest change."""
HALVINGS = 8


def zero_gradients(
    victim: Victim, images: Array, labels: Labels, norm: NormName, eps: float, seed: int
) -> dict[str, Share]:
    """By member with a gradient graph: images [N, C, H, W] at which the margin's gradient is exactly 0, or is so at a
    random place in the ball around them, where an attack may start."""
    goals = as_asked(labels, np.full_like(labels, ANY_OTHER))
    zero = np.zeros((victim.n_members, len(images)), dtype=bool)
    for places in (images, Ball(NORMS[norm], eps, images).random(np.random.default_rng(seed))):
        logits = victim.ensemble.predict(places, "full").logits
        for member in np.flatnonzero(victim.differentiable).tolist():
            _, cotangents = alone(member)(logits, goals)
            zero[member] |= (victim.gradient(places, cotangents) == 0).all(axis=(1, 2, 3))
    return {
        member.name: Share.of(int(flags.sum()), len(images))
        for member, flags, has_graph in zip(victim.ensemble.members, zero, victim.differentiable, strict=True)
        if has_graph
    }


def plant(victim: Victim, images: Array, adversarial: Array, labels: Labels, norm: NormName, seed: int) -> Share:
    """Beside known `adversarial` images [K, C, H, W], on the way from `images`, how often the attacks find one.

    Each is planted: the last image on the way that is still right is attacked, in a ball of twice its distance to the
    next one, which is adversarial. Attacks that minimise are no good at so small a ball: theirs is of the whole way's
    length. An attack that sees nothing there sees nothing anywhere.
    """
    found, minimising = 0, MINIMISING[norm]
    for number, (image, target, label) in enumerate(zip(images, adversarial, labels, strict=True)):
        near, beyond = border(victim, image, target, partial(np.not_equal, label))
        near_by, whole = (float(size) for size in NORMS[norm].size(np.stack([beyond - near, target - image])))
        attacks = [make_attack("apgd-joint_margin", Settings(norm, 2 * near_by, PLANT_STEPS))]
        attacks += [make_attack(kind, Settings(norm, whole)) for kind in minimising]
        for attack in attacks:
            generator = np.random.default_rng((seed, number))
            found += len(attack.run(victim, near[None], np.array([label]), generator))
    return Share.of(found, len(images) * (1 + len(minimising)))


def shortest(victim: Victim, images: Array, adversarial: Array, labels: Labels) -> Array:
    """The share [K] of the way from `images` [K, C, H, W] to `adversarial` at which the verdict falls, by bisection.

    Somewhere on the way it does; a smaller share may exist, and so may a smaller change in another direction.
    """
    low, high = np.zeros(len(images), np.float32), np.ones(len(images), np.float32)
    for _ in range(HALVINGS if len(images) else 0):
        middle = (low + high) / 2
        way = (images + middle.reshape(-1, 1, 1, 1) * (adversarial - images)).clip(0, 1)
        wrong = judge(victim, way).wrong(labels)[0]
        low, high = np.where(wrong, low, middle), np.where(wrong, middle, high)
    return high


def known(size: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", smallest_by: Labels, most: int) -> list[int]:
    """The first images of which an adversarial one is known at any eps, itself not among them."""
    return np.flatnonzero((smallest_by != STANDS) & (size > 0)).tolist()[:most]
