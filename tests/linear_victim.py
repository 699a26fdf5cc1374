"""Victims of linear members, whose attacks can be worked out by hand; images are 1 x 8 x 8."""

from collections.abc import Sequence

import numpy as np

from robustness.victim import Victim
from runtime.ensemble import Ensemble
from runtime.manifest import Manifest, Vote
from tests.toys import FP32, W2A4, LinearMember, toy_entry, toy_manifest

QUARTER = 16
"""Pixels in a quarter of the image: two rows."""
MAJORITY = Vote(rule="majority", tie_breaker="fp32")
AVERAGE = Vote(rule="average", tie_breaker=None)
NAMES = ("low-a", "low-b", "fp32")
GRADIENTS = {"gradient_file": "gradient.onnx", "gradient_sha256": "0" * 64}
LINEAR_MANIFEST: Manifest = toy_manifest(
    [toy_entry(name, FP32 if name == "fp32" else W2A4, **GRADIENTS) for name in NAMES],
    "fp32",
    (1, 8, 8),
    labels=("cat", "dog", "eel"),
)


def linear_victim(
    quarters: Sequence[Sequence[Sequence[float]]],
    biases: Sequence[Sequence[float]],
    vote: Vote = MAJORITY,
) -> Victim:
    """Members low-a, low-b and fp32, whose logits are `biases` [member][class] for a grey image (all 1/2).

    `quarters` [member][quarter][class]: what a class gains by the mean brightness of a quarter.
    """
    members = [
        LinearMember(
            entry.name,
            entry.precision,
            (np.repeat(np.array(weights), QUARTER, axis=0) / QUARTER).astype(np.float32),
            np.array(bias, dtype=np.float32),
        )
        for entry, weights, bias in zip(LINEAR_MANIFEST.members, quarters, biases, strict=True)
    ]
    return Victim(Ensemble(members, vote, 3), members)


def planted_victim() -> Victim:
    """Within 0.1 each low-precision member falls more easily into a class of its own, with effort into the other's.

    All vote cat for a grey image. low-a becomes dog where quarter 0 is 1/30 brighter, or eel where quarter 1 is almost
    0.1 brighter; low-b dog where quarter 2 is almost 0.1 brighter, or eel where quarter 3 is 1/30 brighter. The
    full-precision member is cat whatever happens.
    """
    nothing, dog, hard_dog, eel, hard_eel = (0, 0, 0), (0, 30, 0), (0, 10.5, 0), (0, 0, 30), (0, 0, 10.5)
    return linear_victim(
        [
            (dog, hard_eel, nothing, nothing),
            (nothing, nothing, hard_dog, eel),
            (nothing, nothing, nothing, nothing),
        ],
        [(1, 0, 0), (1, 0, 0), (10, 0, 0)],
    )


def saturated_victim() -> Victim:
    """Sure low-precision members, whose probabilities do not move, and a doubtful one that goes the other way.

    All vote cat for a grey image. The low-precision members become dog where the image is 1/12 brighter; the
    full-precision member is nearer to dog the darker it is, but never gets there within 0.1.
    """
    sure, doubtful = [(0, 75, 0)] * 4, [(0, -1, 0)] * 4
    return linear_victim([sure, sure, doubtful], [(25, 0, 0), (25, 0, 0), (1, 0, 0)])
