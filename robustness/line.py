"""The line from an image to an adversarial one, and where the verdict falls on it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustness.victim import Array, Victim

SWEEPS, POINTS = 2, 32
"""The line is searched so often, at so many points; the second time between the two around the border."""


def border(
    victim: Victim, image: Array, adversarial: Array, fallen: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> tuple[Array, Array]:
    """Two neighbours [C, H, W] on the way from the image to the adversarial one, the first not `fallen`, the second so.

    `fallen` says it of verdicts [B]. Nearer the image there may be another border that is too narrow to be seen. Not
    counted as an attack's queries.
    """
    for _ in range(SWEEPS):
        shares = np.linspace(0, 1, POINTS + 1, dtype=np.float32).reshape(-1, 1, 1, 1)
        way = (image + shares * (adversarial - image)).clip(0, 1)
        way[-1] = adversarial
        first = int(fallen(victim.ensemble.predict(way, "full").verdict).argmax())
        if first == 0:
            break
        image, adversarial = way[first - 1], way[first]
    return image, adversarial
