"""How large the smallest perturbations known are, as quantiles and as a histogram."""

import numpy as np
from numpy.typing import NDArray

from robustness.reporting.report import Report, Sizes

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20


def sizes_of(size: NDArray[np.float64], eps: float, *, searched: bool, among: int | None = None) -> Sizes:
    """Of the sizes [K]; see the fields of `Sizes`."""
    counts, edges = np.histogram(size, bins=BINS, range=(0, eps))
    quantiles = {f"{q:g}": round(float(np.quantile(size, q)), 6) for q in QUANTILES} if len(size) else {}
    return Sizes(
        n=len(size),
        quantiles=quantiles,
        edges=edges.round(6).tolist(),
        counts=counts.tolist(),
        searched=searched,
        among=among,
    )


def fallen_sizes(report: Report, among: int | None) -> list[float]:
    """Of the report's first `among` images, or of all, those that were broken: the size of each."""
    rows = report.per_image[:among]
    return [row.size for row in rows if row.outcome == "broken" and row.size is not None]
