"""The area under the receiver operating characteristic, exactly."""

import numpy as np
from numpy.typing import NDArray


def auroc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float | None:
    """The share of pairs in which the positive's score is the higher one, ties counting half; None without a pair.

    Mann and Whitney's rank statistic, in whole numbers until the last division.

    >>> auroc(np.array([0.3, 0.9]), np.array([0.1, 0.3]))
    0.875
    """
    if len(positives) == 0 or len(negatives) == 0:
        return None
    ordered = np.sort(negatives)
    below, below_or_equal = (int(np.searchsorted(ordered, positives, side).sum()) for side in ("left", "right"))
    return (below + below_or_equal) / (2 * len(positives) * len(negatives))
