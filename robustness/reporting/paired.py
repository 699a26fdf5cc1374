"""Two of the vote and the members on the same images: who withstands more, and whether chance alone would do it."""

from robustness.reporting.report import BEST_MEMBER, Compared, Comparison


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact p: how likely a fair coin divides the images that fell on one side only at least so unevenly.

    >>> mcnemar(4, 9), mcnemar(2, 28) < 1e-6, mcnemar(0, 0)
    (0.266845703125, True, 1.0)
    """
    n = only_first + only_second
    ways, tail = 1, 1
    for k in range(min(only_first, only_second)):
        ways = ways * (n - k) // (k + 1)  # n over k + 1
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


NOT_LIKE_WITH_LIKE = (
    "The best was chosen on these very images, and more attacks are made for the vote than for each member alone: both "
    "are to the vote's disadvantage."
)


def compared(what: Compared, first: str, second: str, only_first: int, only_second: int, n: int) -> Comparison:
    """Of `n` images, `only_first` withstood only on the first and `only_second` only on the second."""
    points = 100 * (only_first - only_second) / n
    p = mcnemar(only_first, only_second)
    than = f"its best member {second}" if what == BEST_MEMBER else f"the full-precision member {second}"
    side = "more" if points > 0 else "less"
    said = f"{abs(points):.1f} points {side} than" if points else "as much as"
    counts = f"{only_first} of {n} images stand for {first} alone, {only_second} for {second} alone"
    return Comparison(
        what=what,
        first=first,
        second=second,
        points=round(points, 3),
        only_first=only_first,
        only_second=only_second,
        p=float(f"{p:.4g}"),
        sentence=f"{first} withstands {said} {than}: {counts} (McNemar's exact test: p {_p(p)})."
        + (f" {NOT_LIKE_WITH_LIKE}" if what == BEST_MEMBER else ""),
    )


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 0.0001 else "below 0.0001"
