"""Victims for which the smallest change that turns the vote is known."""

import numpy as np

from robustness.norms import NormName
from robustness.victim import Victim
from runtime.manifest import Vote
from tests.linear_victim import MAJORITY, linear_victim

GREY = np.full((1, 1, 8, 8), 0.5, np.float32)
CAT = np.array([0])
SLOPES = ((0, 10, 0), (0, -30, 0), (0, 5, 0), (0, 20, 0))
LEAD = 2.0


def alike(vote: Vote = MAJORITY) -> Victim:
    """Three equal members, so that the vote falls where they do."""
    return linear_victim([SLOPES] * 3, [(LEAD, 0, 0)] * 3, vote)


def smallest(norm: NormName) -> float:
    """The smallest change of a grey image that makes them prefer dog: the lead over the dual norm of the slopes.

    A pixel's slope is its quarter's over 16.
    """
    slopes = np.repeat([dog for _, dog, _ in SLOPES], 16) / 16
    return LEAD / float(np.abs(slopes).sum() if norm == "linf" else np.linalg.norm(slopes))


def smallest_of_planted(norm: NormName) -> float:
    """Of `planted_victim`: one low-precision member falls where a quarter is 1/30 brighter, the other with 1/10.5 more.

    The two quarters are apart, and both members have to go to the same class.
    """
    return 1 / 10.5 if norm == "linf" else float(np.sqrt(16 * (1 / 30**2 + 1 / 10.5**2)))
