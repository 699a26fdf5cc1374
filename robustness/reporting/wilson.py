"""Wilson's interval: between which limits a share lies that was counted on n images."""

from math import sqrt

Z = 1.959963984540054
"""Of the normal distribution 95% lies within so many standard deviations."""


def wilson(count: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share of which `count` of `n` are known (Wilson, 1927); 0 to 1 for none.

    >>> [round(limit, 4) for limit in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    if n == 0:
        return 0.0, 1.0
    share, square = count / n, Z * Z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z / (1 + square / n) * sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
