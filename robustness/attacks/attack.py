"""What every attack is: a name, its hyperparameters, and a run over a batch of images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robustness.victim import Array, Victim

Labels = NDArray[np.int64]
OutOfTime = Callable[[], bool]
ThreatModel = Literal["white-box", "black-box-score", "black-box-label"]
"""What an attack needs: gradient graphs too, only the members' outputs, or nothing but the verdict."""


def never() -> bool:
    """The `out_of_time` of an attack that may take as long as it takes."""
    return False


@dataclass(frozen=True)
class Found:
    """An adversarial image [C, H, W] for the image `source`, as the served graphs judged it."""

    source: int
    image: Array
    step: int


class Attack(Protocol):
    """An untargeted attack. It keeps no state between runs."""

    @property
    def name(self) -> str:
        """With its loss, such as `pgd-joint_margin`: the row of a report's table."""
        ...

    @property
    def threat_model(self) -> ThreatModel:
        """Only a white-box attack needs a victim with gradient graphs."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Every hyperparameter, as JSON can hold it."""
        ...

    def run(
        self,
        victim: Victim,
        images: Array,
        labels: Labels,
        generator: np.random.Generator,
        *,
        out_of_time: OutOfTime = never,
    ) -> dict[int, Found]:
        """The adversarial images found for `images`, float32 [N, C, H, W] in [0, 1], by index.

        `labels` [N] are the true classes: an image that the vote gets wrong unchanged is found at step 0. Success is
        judged by `victim.predict`, the served member graphs and their vote, at every iterate; no verdict at all is a
        success. What is found lies in [0, 1] and within the attack's eps; an attack that minimises a norm gives the
        smallest that it found. What is found for an image depends on its index and the generator, not on the others.
        Everything stops when `out_of_time()`. Raises InvalidValue where a parameter does not fit the victim.
        """
        ...
