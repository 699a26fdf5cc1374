"""What an attack wants of each image: away from its class, or to another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANY_OTHER = -1


@dataclass(frozen=True)
class Goals:
    """One goal for each of B trajectories.

    source [B]: index of the image. label [B]: the class to leave. target [B]: the class to reach, or ANY_OTHER.
    """

    source: NDArray[np.intp]
    label: NDArray[np.int64]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Goals":
        return Goals(self.source[keep], self.label[keep], self.target[keep])

    def repeated(self, times: int) -> "Goals":
        return Goals(np.repeat(self.source, times), np.repeat(self.label, times), np.repeat(self.target, times))


def as_asked(labels: NDArray[np.int64], targets: NDArray[np.int64]) -> Goals:
    """One trajectory for each image, to its target or to any other class."""
    return Goals(np.arange(len(labels)), labels, targets)


def every_class(
    labels: NDArray[np.int64], targets: NDArray[np.int64], logits: NDArray[np.floating[Any]], most_classes: int = 9
) -> Goals:
    """For each image a trajectory to each other class, the `most_classes` likeliest by the clean `logits` [M, N, K],
    and one to any other, whichever it is for each member; where an image has a target, only the one to that.

    The logits are those over their temperatures, so that no member outvoices the others.
    """
    rows: list[tuple[int, int]] = []
    for image, target in enumerate(targets.tolist()):
        if target != ANY_OTHER:
            rows.append((image, target))
            continue
        likeliest = np.argsort(-logits[:, image].mean(axis=0), kind="stable")
        rows += [(image, int(c)) for c in likeliest[likeliest != labels[image]][:most_classes]]
        rows.append((image, ANY_OTHER))
    source = np.array([image for image, _ in rows], dtype=np.intp)
    return Goals(source, labels[source], np.array([target for _, target in rows], dtype=np.int64))
