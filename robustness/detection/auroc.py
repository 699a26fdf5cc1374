"""Between which limits an area under the receiver operating characteristic lies."""

from math import sqrt

from robustness.reporting.wilson import Z

HALVINGS = 50


def auroc_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """The 95% interval of an area measured on so many images of each kind.

    Hanley and McNeil's standard error (Radiology 143, 1982), taken at the limits and not at the area itself, as
    Wilson's is for a share (Newcombe, Statistics in Medicine 25, 2006): of an area of 1 it is not a single point.

    >>> [round(limit, 3) for limit in auroc_interval(0.93, 12, 300)]
    [0.772, 0.982]
    """
    return _limit(area, 0.0, positives, negatives), _limit(area, 1.0, positives, negatives)


def _limit(area: float, end: float, positives: int, negatives: int) -> float:
    """Between the area and this end, the farthest value from which the area is no more than Z errors away."""
    near, far = area, end
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        within = abs(area - middle) <= Z * _error(middle, positives, negatives)
        near, far = (middle, far) if within else (near, middle)
    return near


def _error(area: float, positives: int, negatives: int) -> float:
    """Hanley and McNeil's standard error of an area that is this one in truth."""
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    return sqrt(max(0.0, area * (1 - area) + spread) / (positives * negatives))
