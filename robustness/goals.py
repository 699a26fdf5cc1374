"""What an attack wants of each image: away from its class, or to another, by which members."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

ANY_OTHER = -1


@dataclass(frozen=True)
class Goals:
    """One goal for each of B trajectories.

    source [B]: index of the image. label [B]: the class to leave. target [B]: the class to reach, or ANY_OTHER.
    coalition [M, B]: the members that are pushed; all of them for losses over the whole ensemble.
    """

    source: NDArray[np.intp]
    label: NDArray[np.int64]
    target: NDArray[np.int64]
    coalition: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    def where(self, keep: NDArray[np.bool_]) -> "Goals":
        return Goals(self.source[keep], self.label[keep], self.target[keep], self.coalition[:, keep])

    def repeated(self, times: int) -> "Goals":
        return Goals(
            np.repeat(self.source, times),
            np.repeat(self.label, times),
            np.repeat(self.target, times),
            np.repeat(self.coalition, times, axis=1),
        )


def whole_ensemble(labels: NDArray[np.int64], targets: NDArray[np.int64], members: int) -> Goals:
    """One trajectory for each image that pushes all members."""
    return Goals(np.arange(len(labels)), labels, targets, np.ones((members, len(labels)), dtype=bool))


def joint(
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
    logits: NDArray[np.float32],
    tie_breaker: int | None,
    most_classes: int = 9,
) -> Goals:
    """The joint targeted goals: every way in which few members can turn the vote.

    For each other class (the `most_classes` likeliest by the clean `logits` [M, N, K]; only the target where there is
    one), every smallest coalition that decides for it is pushed there together: a majority, or half of an even number
    of members with the tie-breaker among them. Without a target also the split: the tie-breaker leaves the label
    together with so many others that no majority is left for it.
    """
    members, n_images, _n_classes = logits.shape
    deciding = [s for s in combinations(range(members), (members + 1) // 2) if tie_breaker in s]
    deciding += [s for s in combinations(range(members), members // 2 + 1) if tie_breaker not in s]
    rows: list[tuple[int, int, tuple[int, ...]]] = []
    for image in range(n_images):
        order = np.argsort(-logits[:, image].mean(axis=0))
        others = [int(c) for c in order if c != labels[image]][:most_classes]
        wanted = others if targets[image] == ANY_OTHER else [int(targets[image])]
        rows += [(image, t, s) for t in wanted for s in deciding]
        if targets[image] == ANY_OTHER and tie_breaker is not None:
            rest = [m for m in range(members) if m != tie_breaker]
            enough = members - members // 2 - 1
            rows += [(image, ANY_OTHER, (tie_breaker, *s)) for s in combinations(rest, enough)]
    coalition = np.zeros((members, len(rows)), dtype=bool)
    for column, (_, _, who) in enumerate(rows):
        coalition[list(who), column] = True
    source = np.array([row[0] for row in rows], dtype=np.intp)
    return Goals(source, labels[source], np.array([row[1] for row in rows], dtype=np.int64), coalition)
