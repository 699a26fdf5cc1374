"""EMPIR's vote (Sen et al., ICLR 2020, section 3): members' classes in, the ensemble's verdict out.

Class indices are int64; NO_VOTE stands for a member that failed or was not asked, and for the lack of a verdict.
"""

import numpy as np
from numpy.typing import NDArray

NO_VOTE = -1

Classes = NDArray[np.int64]
Probs = NDArray[np.float32]


def majority(votes: Classes, members: int, n_classes: int) -> Classes:
    """The class [N] with more than half of all `members` among votes [M', N], else NO_VOTE.

    `members` counts everyone in the manifest, also those that failed or were not asked. A class found here is the
    verdict whatever the missing votes would be, so it also tells when a quorum is reached.
    """
    counts = (votes[:, :, None] == np.arange(n_classes)).sum(axis=0)
    leader = counts.argmax(axis=1)
    count = counts.max(axis=1)
    return np.where(2 * count > members, leader, NO_VOTE)


def majority_verdict(votes: Classes, n_classes: int, tie_breaker: int) -> Classes:
    """Verdict [N] of votes [M, N]: the majority's class, without one the tie-breaker's vote, which may be NO_VOTE."""
    leader = majority(votes, len(votes), n_classes)
    return np.where(leader == NO_VOTE, votes[tie_breaker], leader)


def average_verdict(probs: Probs, live: NDArray[np.bool_]) -> Classes:
    """Verdict [N]: the largest mean of probs [M, N, K] over the live members [M, N]; NO_VOTE where none is live."""
    total = np.where(live[:, :, None], probs, 0).sum(axis=0)
    return np.where(live.any(axis=0), total.argmax(axis=1), NO_VOTE)


def softmax(logits: NDArray[np.float32], temperature: float) -> Probs:
    """softmax(logits / temperature) over the last axis; float32 of logits' shape, in [0, 1]."""
    shifted = (logits - logits.max(axis=-1, keepdims=True)) / np.float32(temperature)
    exponentials = np.exp(shifted)
    probs: Probs = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probs
