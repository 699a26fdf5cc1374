"""EMPIR's vote (Sen et al., ICLR 2020, section 3): members' classes in, the ensemble's verdict out.

Class indices are int64; NO_VOTE stands for a member that failed or was not asked, and for the lack of a verdict.
"""

import numpy as np
from numpy.typing import NDArray

NO_VOTE = -1

Classes = NDArray[np.int64]
Probs = NDArray[np.float32]


def majority(votes: Classes, members: int) -> Classes:
    """The class [N] with more than half of all `members` among votes [M', N], else NO_VOTE.

    `members` counts everyone in the manifest, also those that failed or were not asked. A class found here is the
    verdict whatever the missing votes would be, so it also tells when a quorum is reached.
    """
    return np.array([_leader(column, members) for column in votes.T.tolist()])


def _leader(votes: list[int], members: int) -> int:
    """Plain Python: for a handful of votes it is several times faster than NumPy, for any number of images."""
    for vote in votes[: members // 2 + 1]:  # a class with a majority has a vote among these
        if vote != NO_VOTE and 2 * votes.count(vote) > members:
            return vote
    return NO_VOTE


def majority_verdict(votes: Classes, tie_breaker: int) -> Classes:
    """Verdict [N] of votes [M, N]: the majority's class, without one the tie-breaker's vote, which may be NO_VOTE."""
    members = len(votes)
    leaders = [(_leader(column, members), column[tie_breaker]) for column in votes.T.tolist()]
    return np.array([last if leader == NO_VOTE else leader for leader, last in leaders], dtype=np.int64)


def average_verdict(probs: Probs, live: NDArray[np.bool_]) -> Classes:
    """Verdict [N]: the largest mean of probs [M, N, K] over the live members [M, N]; NO_VOTE where none is live."""
    total = np.where(live[:, :, None], probs, 0).sum(axis=0)
    return np.where(live.any(axis=0), total.argmax(axis=1), NO_VOTE)


def softmax(logits: NDArray[np.float32], temperature: NDArray[np.float32] | np.float32) -> Probs:
    """softmax(logits / temperature) over the last axis; float32 of logits' shape, in [0, 1].

    `temperature` is a number, or an array that broadcasts over `logits`.
    """
    exponentials = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    probs: Probs = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probs
