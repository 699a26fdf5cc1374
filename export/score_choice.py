"""The detection score chosen: which sees an attack on the full-precision member alone best, on validation images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from export.data.examples import Examples, as_pixels
from runtime.auroc import auroc
from runtime.bundle import Bundle
from runtime.detection import SCORES, Scorer
from runtime.ensemble import Ensemble
from runtime.gradients import Differentiable, GradientGraph
from runtime.manifest import BETWEEN_KINDS, Manifest, Member, ScoreChoice, ScoreName
from runtime.usual_eps import usual_linf_eps

Array = NDArray[np.float32]

MOST_ATTACKED, LEAST_ATTACKED = 300, 50
MOST_OPERATIONS = 3e12
"""Multiply-accumulates of the attack, a minute or two on one core: a larger network is attacked on fewer images."""
FORWARD_AND_BACK = 3
"""What a gradient costs, in multiply-accumulates of one answer."""
LEAST_TURNED = 20
"""Of fewer images an area under the curve says too little to leave the usual score for another."""
STEPS = 20
AT_ONCE = 8
SEED = 0


@dataclass(frozen=True)
class Attacked:
    """The member that the attack knows, and its gradient graph."""

    member: Member
    network: Differentiable

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """The first full-precision member, of a bundle read with its gradient graphs; None if it has no graph of it."""
        for member in bundle.manifest.members:
            if member.precision.is_float and member.gradient_file is not None:
                return cls(member, GradientGraph(bundle, member))
        return None


def usual_score(manifest: Manifest) -> ScoreName:
    """The one that is taken where nothing is measured, or nothing sees the attack better."""
    return "kullback_leibler" if _kinds(manifest) == 2 else "jensen_shannon"


def fitting_scores(manifest: Manifest) -> list[ScoreName]:
    """Those that the members of this manifest can be compared by, the usual one first."""
    usual = usual_score(manifest)
    fit = [each for each in SCORES if _kinds(manifest) == 2 or each not in BETWEEN_KINDS]
    return [usual, *(each for each in fit if each != usual)]


def measure_scores(
    ensemble: Ensemble,
    manifest: Manifest,
    validation: Examples,
    attacked: Attacked,
    clean: Mapping[ScoreName, NDArray[np.float64]],
) -> ScoreChoice:
    """Attack some of the validation images, and compare each score of those turned with its `clean` scores.

    The unaware attacker of a report: PGD on one member alone, to the end; an image counts if its verdict was right and
    is wrong then.
    """
    eps = usual_linf_eps(manifest.input.channels)
    indices = np.sort(np.random.default_rng(SEED).permutation(len(validation))[: images_for(attacked.member.macs)])
    generator = np.random.default_rng(SEED)
    parts = [indices[start : start + AT_ONCE] for start in range(0, len(indices), AT_ONCE)]
    members = [member.name for member in manifest.members]
    scorers = {name: Scorer.of(manifest, name, members) for name in clean}
    turned: dict[ScoreName, list[NDArray[np.float64]]] = {name: [] for name in clean}
    right, place = 0, members.index(attacked.member.name)
    for part, levels in zip(parts, validation.batches(parts), strict=True):
        images, labels = as_pixels(levels), validation.classes[part]
        clean_answer = ensemble.predict(images)
        known = clean_answer.logits[place]
        after = ensemble.predict(attack_alone(attacked.network, images, labels, known, eps, generator))
        was_right = clean_answer.verdict == labels
        fell = was_right & (after.verdict != labels)
        right += int(was_right.sum())
        for name, scorer in scorers.items():
            turned[name].append(scorer.ranking(after)[fell])
    scores = {name: np.concatenate(found) for name, found in turned.items()}
    areas = {name: auroc(each, clean[name]) for name, each in scores.items()}
    return ScoreChoice(
        member=attacked.member.name,
        eps=eps,
        steps=STEPS,
        attacked=right,
        turned=len(next(iter(scores.values()))),
        auroc={name: round(area, 6) for name, area in areas.items() if area is not None},
    )


def best_of(choice: ScoreChoice, usual: ScoreName) -> ScoreName:
    """The score with the largest area, the usual one among equals, and wherever too few images fell."""
    if choice.turned < LEAST_TURNED:
        return usual
    return max(choice.auroc, key=lambda name: (choice.auroc[name], name == usual))


def attack_alone(
    network: Differentiable,
    images: Array,
    labels: NDArray[np.int64],
    logits: Array,
    eps: float,
    generator: np.random.Generator,
) -> Array:
    """PGD in L-infinity (Madry et al., arXiv 1706.06083) on one network's margin: the last iterates, [N, C, H, W].

    Of images float32 [N, C, H, W] in [0, 1], away from their classes [N]; `logits` [N, K] are the network's of them.
    The likeliest other class is that of the iterate before: a gradient graph tells it with the gradient.
    """
    rows = np.arange(len(images))
    lowest, highest = (images - np.float32(eps)).clip(0, 1), (images + np.float32(eps)).clip(0, 1)

    def inside(moved: NDArray[np.floating[Any]]) -> Array:
        return moved.clip(lowest, highest).astype(np.float32, copy=False)

    iterate = inside(images + generator.uniform(-eps, eps, images.shape).astype(np.float32))
    for _ in range(STEPS):
        others = logits.copy()
        others[rows, labels] = -np.inf
        cotangents = np.zeros_like(logits)
        cotangents[rows, labels], cotangents[rows, others.argmax(axis=1)] = -1, 1
        logits, gradient = network.gradient(iterate, cotangents)
        iterate = inside(iterate + np.float32(2.5 * eps / STEPS) * np.sign(gradient))
    return iterate


def images_for(macs: int) -> int:
    """How many images are attacked of a network of so many multiply-accumulates."""
    each = STEPS * FORWARD_AND_BACK * max(1, macs)
    return min(MOST_ATTACKED, max(LEAST_ATTACKED, int(MOST_OPERATIONS / each)))


def _kinds(manifest: Manifest) -> int:
    return len({member.precision.is_float for member in manifest.members})
