"""Charts of a report as inline SVG: shares with their intervals, lines against eps, sizes of perturbations.

Colours come from the page: series i has the class `s0`, `s1`, ..., so that light and dark need one drawing. Every
chart has a title and a description for those who do not see it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robustness.norms import eps_text
from robustness.reporting.page.markup import Content, Element, element, join
from robustness.reporting.share import Share

WIDTH = 460.0
PALETTE = 6
"""Colours that the page has for series; the next series begins again."""
MARK = 3.2
TICKS = 4
"""Steps of an axis from 0 to 100%, and of the counts beside it."""
FAR = 1.5
"""Beyond the report's eps, one that is more than so many times the one before it stands beyond a gap."""
GAP = 0.15
"""The share of the axis that such a gap takes."""


@dataclass(frozen=True)
class Frame:
    """The rectangle in which data are drawn, in units of the drawing, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, share: float) -> float:
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        return self.bottom - share * (self.bottom - self.top)


@dataclass(frozen=True)
class Scale:
    """The numbers along an axis of sizes: as they are, or in 255ths where people write the eps so.

    >>> Scale.of(8 / 255).number(12 / 255), Scale.of(8 / 255).unit("eps"), Scale.of(0.3).number(0.225)
    ('12', 'eps, in 255ths', '0.225')
    """

    in_255ths: bool

    @classmethod
    def of(cls, eps: float) -> "Scale":
        return cls("/" in eps_text(eps))

    def number(self, size: float) -> str:
        return f"{255 * size if self.in_255ths else size:.3g}"

    def unit(self, what: str) -> str:
        return f"{what}, in 255ths" if self.in_255ths else what


def drawing(title: str, description: str, height: float, *content: Content, width: float = WIDTH) -> Element:
    """An SVG that says what it shows."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *content,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_="chart",
    )


def series_class(index: int) -> str:
    return f"s{index if index < PALETTE else 1 + (index - 1) % (PALETTE - 1)}"


def share_bar(share: Share) -> Element:
    """A share in a table's cell: a bar, and its interval as a line on it. The number stands beside it."""
    frame = Frame(0, 0, 72, 10)
    low, high = frame.x(share.low), frame.x(share.high)
    return element(
        "svg",
        element("rect", x=0, y=2, width=72, height=6, class_="track"),
        element("rect", x=0, y=2, width=frame.x(share.share), height=6, class_="bar"),
        element("line", x1=low, x2=high, y1=5, y2=5, class_="interval"),
        viewBox="0 0 72 10",
        class_="spark",
        aria_hidden="true",
    )


def gauge(rows: Sequence[tuple[str, Share, Share]]) -> Element:
    """Clean accuracy (a ring) and the worst case (a dot) of each row's name, on one scale from 0 to 100%."""
    frame = Frame(96, 14, WIDTH - 22, 14 + 30.0 * len(rows))
    lines = [join(*_gauge_row(frame, index, *row)) for index, row in enumerate(rows)]
    said = "; ".join(f"{name}: clean {clean.share:.1%}, worst case {worst.share:.1%}" for name, clean, worst in rows)
    return drawing("Clean accuracy and worst case", said, frame.bottom + 24, _percent_axis(frame), *lines)


def _gauge_row(frame: Frame, index: int, name: str, clean: Share, worst: Share) -> list[Element]:
    y, colour = frame.top + 30 * index + 15, series_class(index)
    return [
        element("text", name, x=frame.left - 12, y=y + 4.5, text_anchor="end", class_="strong" if index == 0 else None),
        element("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"),
        element("line", x1=frame.x(worst.share), x2=frame.x(clean.share), y1=y, y2=y, class_=f"fall {colour}"),
        *(_whisker(frame, y, share, colour) for share in (clean, worst)),
        element("circle", cx=frame.x(clean.share), cy=y, r=4.5, class_=f"ring {colour}"),
        element("circle", cx=frame.x(worst.share), cy=y, r=5.0, class_=f"dot {colour}"),
    ]


def _whisker(frame: Frame, y: float, share: Share, colour: str) -> Element:
    low, high = frame.x(share.low), frame.x(share.high)
    return element("path", d=f"M{low:.1f} {y - 5:g}v10m0-5H{high:.1f}m0-5v10", class_=f"whisker {colour}")


def _percent_axis(frame: Frame) -> Element:
    ticks = []
    for tick in range(0, 101, 20):
        x = frame.x(tick / 100)
        ticks.append(element("line", x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="grid"))
        ticks.append(element("text", f"{tick}%", x=x, y=frame.bottom + 17, text_anchor="middle", class_="tick"))
    return join(*ticks)


def accuracy_chart(eps: Sequence[float], series: Mapping[str, Sequence[Share]], at: float, unit: str) -> Element:
    """Accuracy against eps, a line and the band of its interval for each series; a rule marks the report's eps."""
    frame, said, scale = Frame(42, 12, WIDTH - 12, 232), _curve_in_words(eps, series), Scale.of(at)
    places = eps_places(eps, at)
    lines = [_line(frame, places, shares, index) for index, shares in enumerate(series.values())]
    marks = [
        element("text", scale.number(value), x=frame.x(place), y=frame.bottom + 17, text_anchor="middle", class_="tick")
        for value, place in zip(eps, places, strict=True)
        if place in _readable(places)
    ]
    rule = [frame.x(place) for value, place in zip(eps, places, strict=True) if abs(value - at) < 1e-9]
    rules = [
        join(
            element("line", x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="rule"),
            element("text", f"eps {eps_text(at)}", x=x + 5, y=frame.top + 10, class_="tick"),
        )
        for x in rule
    ]
    broken = [1 - GAP * (number + 0.5) for number in range(gaps(eps, at))]
    marks += [
        element("text", "//", x=frame.x(place), y=frame.bottom + 5, text_anchor="middle", class_="tick")
        for place in broken
    ]
    label = element("text", scale.unit(unit), x=frame.x(0.5), y=frame.bottom + 36, text_anchor="middle", class_="tick")
    return drawing("Accuracy against eps", said, 272, _share_axis(frame), *rules, *reversed(lines), *marks, label)


def gaps(eps: Sequence[float], at: float) -> int:
    """How many of the last eps stand each beyond a gap."""
    far = 0
    while eps[-1 - far] > at and eps[-1 - far] > FAR * eps[-2 - far]:
        far += 1
    return far


def eps_places(eps: Sequence[float], at: float) -> list[float]:
    """Where each eps stands, in [0, 1]: in proportion, but those far beyond `at` each behind a gap.

    >>> eps_places([0, 0.25, 0.5, 1.0], 0.5)
    [0.0, 0.425, 0.85, 1.0]
    >>> eps_places([0, 0.1, 0.2, 0.4, 1.0], 0.2)
    [0.0, 0.35, 0.7, 0.85, 1.0]
    >>> eps_places([0, 0.5, 0.75], 0.5)
    [0.0, 0.6667, 1.0]
    """
    far = gaps(eps, at)
    near, end = eps[: len(eps) - far], 1 - GAP * far
    largest = near[-1] or 1
    return [round(end * value / largest, 4) for value in near] + [round(end + GAP * n, 4) for n in range(1, far + 1)]


def _readable(places: Sequence[float]) -> list[float]:
    """Those that are far enough from the one before to have their number written."""
    kept: list[float] = []
    for place in places:
        if not kept or place - kept[-1] > 0.085:
            kept.append(place)
    return kept


def _line(frame: Frame, places: Sequence[float], shares: Sequence[Share], index: int) -> Element:
    colour = series_class(index)
    xs = [frame.x(place) for place in places]
    path = " ".join(f"{x:.1f},{frame.y(share.share):.1f}" for x, share in zip(xs, shares, strict=True))
    upper = [f"{x:.1f},{frame.y(share.high):.1f}" for x, share in zip(xs, shares, strict=True)]
    lower = [f"{x:.1f},{frame.y(share.low):.1f}" for x, share in zip(xs, shares, strict=True)]
    return element(
        "g",
        element("polygon", points=" ".join(upper + lower[::-1]), class_="band"),
        element("polyline", points=path, class_="line"),
        *(element("circle", cx=x, cy=frame.y(s.share), r=MARK, class_="dot") for x, s in zip(xs, shares, strict=True)),
        class_=f"series {colour}",
    )


def _share_axis(frame: Frame) -> Element:
    ticks = []
    for tick in range(0, 101, 100 // TICKS):
        y = frame.y(tick / 100)
        ticks.append(element("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        ticks.append(element("text", f"{tick}%", x=frame.left - 7, y=y + 4.5, text_anchor="end", class_="tick"))
    return join(*ticks)


def _count_axis(frame: Frame, top: int) -> Element:
    """Numbers of images on the right, at the heights of `_share_axis`, in the colour of the bars."""
    counts = range(0, top + 1, top // TICKS)
    ticks = [
        element("text", f"{count:,}", x=frame.right + 7, y=frame.y(count / top) + 4.5, class_="tick count")
        for count in counts
    ]
    return join(*ticks)


def round_up(value: float) -> int:
    """The next whole number that is easy to read: one digit, then zeros.

    >>> [round_up(value) for value in (0.25, 3, 60.5, 245)]
    [1, 3, 70, 300]
    """
    unit: int = 10 ** max(0, len(str(math.ceil(value))) - 1)
    return unit * math.ceil(value / unit)


def _curve_in_words(eps: Sequence[float], series: Mapping[str, Sequence[Share]]) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{share.share:.1%} at {value:.3g}" for value, share in zip(eps, shares, strict=True))
        for name, shares in series.items()
    )


def size_chart(edges: Sequence[float], counts: Sequence[int], sizes: Sequence[float], n: int, unit: str) -> Element:
    """How large the smallest perturbations are: a histogram, and as a line the share of all n images that fell so far.

    `sizes` are the perturbations themselves, of the images that fell.
    """
    frame, most, scale = Frame(42, 12, WIDTH - 38, 232), max([1, *counts]), Scale.of(edges[-1])
    top = TICKS * round_up(most / TICKS)
    span = (edges[-1] - edges[0]) or 1
    bars = [
        element(
            "rect",
            x=frame.x((low - edges[0]) / span) + 0.5,
            y=frame.y(count / top),
            width=max(0.0, frame.x((high - low) / span) - frame.left - 1),
            height=frame.bottom - frame.y(count / top),
            class_="bin",
        )
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    steps = [f"M{frame.left:.1f} {frame.y(0):.1f}"]
    for rank, size in enumerate(sorted(sizes), start=1):
        steps.append(f"H{frame.x(min(1, (size - edges[0]) / span)):.1f}V{frame.y(rank / n):.1f}")
    cumulative = element("path", d="".join(steps) + f"H{frame.right:.1f}", class_="line s0", fill="none")
    marks = [
        element(
            "text",
            scale.number(edges[0] + part * span),
            x=frame.x(part),
            y=frame.bottom + 17,
            text_anchor="end" if part == 1 else "middle",
            class_="tick",
        )
        for part in (0, 0.25, 0.5, 0.75, 1.0)
    ]
    label = element("text", scale.unit(unit), x=frame.x(0.5), y=frame.bottom + 36, text_anchor="middle", class_="tick")
    said = f"{sum(counts)} of {n} images fell; the tallest bar stands for {most} images"
    axes = _share_axis(frame), _count_axis(frame, top)
    return drawing("Smallest perturbations", said, 272, *axes, *bars, cumulative, *marks, label)
