"""Charts as inline SVG: lines over time or rate, a histogram, ratios with their intervals.

A series has a class, `s0` and on; the page's style gives it its colour, light and dark. Latencies stand on a log
scale, because its tail is what one looks for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.page.markup import Element, element

WIDTH, HEIGHT = 520.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 508.0, 14.0, 208.0

Point = tuple[float, float]
COLOURS = {"p50": "s0", "p90": "s1", "p99": "s2"}
"""The same on every page."""


@dataclass(frozen=True)
class Scale:
    """From numbers to places between two ends, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, evenly spaced.

    >>> ticks(0, 9), ticks(0, 1200)
    ([0.0, 2.0, 4.0, 6.0, 8.0], [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0, 1200.0])
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda each: abs(each - rough / power))
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; where there are few, their 2 and 5 times as well.

    >>> log_ticks(0.1, 30), log_ticks(0.001, 1000)
    ([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0], [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    found = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [each for each in found if low * (1 - 1e-9) <= each <= high * (1 + 1e-9)]


def log_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A logarithmic scale on which all values have their place, with a little room."""
    positive = [value for value in values if value > 0] or [1.0]
    return Scale(min(positive) / 1.15, max(positive) * 1.15, start, end, log=True)


def lines(
    title: str,
    series: Mapping[str, Sequence[Point]],
    x_label: str,
    rule: float | None = None,
    hollow: Sequence[Point] = (),
) -> Element:
    """Latencies in milliseconds, on a log scale, over something. `rule` is an objective; `hollow` points missed it."""
    points = [point for each in series.values() for point in each] or [(0.0, 1.0)]
    most = max(x for x, _ in points)
    across = Scale(0.0, most * 1.02 or 1.0, LEFT, RIGHT)
    up = log_scale([y for _, y in points] + ([rule] if rule else []), BOTTOM, TOP)
    drawn = [_line(COLOURS[name], each, across, up, hollow) for name, each in series.items()]
    rules = [] if rule is None else [element("line", x1=LEFT, x2=RIGHT, y1=up(rule), y2=up(rule), class_="rule")]
    said = "; ".join(f"{name}: {_in_words(each)}" for name, each in series.items())
    return drawing(title, said, _x_axis(across, x_label), _y_axis(up), *rules, *drawn)


def histogram(title: str, edges: Sequence[float], counts: Sequence[int], marks: Mapping[str, float]) -> Element:
    """Counts between edges in milliseconds, on a log scale; `marks` are rules with a name."""
    across = Scale(edges[0], edges[-1], LEFT, RIGHT, log=True)
    up = Scale(0.0, float(max([1, *counts])), BOTTOM, TOP)
    bars = [
        element(
            "rect",
            x=across(low),
            y=up(n),
            width=max(0.5, across(high) - across(low) - 1),
            height=BOTTOM - up(n),
            class_="bin",
        )
        for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
        if n
    ]
    rules = [
        element(
            "g",
            element("line", x1=across(at), x2=across(at), y1=TOP, y2=BOTTOM, class_="rule"),
            _label(name, across(at), TOP + 10.0 + 13 * index),
        )
        for index, (name, at) in enumerate(marks.items())
    ]
    said = ", ".join(f"{name} {at:.3g} ms" for name, at in marks.items())
    return drawing(
        title, f"{sum(counts):,} requests; {said}", _x_axis(across, "ms, log scale"), _y_axis(up), *bars, *rules
    )


def _label(name: str, x: float, y: float) -> Element:
    """Beside a rule: on its right, or on its left near the edge."""
    left = x > RIGHT - 40
    return element("text", name, x=x - 4 if left else x + 4, y=y, text_anchor="end" if left else "start", class_="tick")


def ratios(title: str, rows: Mapping[str, tuple[float, float, float]], x_label: str) -> Element:
    """Ratios with their intervals, one a row; a rule stands at 1."""
    left, step = 150.0, 30.0
    bottom = TOP + step * len(rows)
    ends = [value for row in rows.values() for value in row]
    across = Scale(min([1.0, *ends]) / 1.1, max([1.0, *ends]) * 1.1, left, RIGHT, log=True)
    marks = [element("line", x1=across(1), x2=across(1), y1=TOP, y2=bottom, class_="rule")]
    for index, (name, (value, low, high)) in enumerate(rows.items()):
        y = TOP + step * (index + 0.5)
        marks += [
            element("text", name[:24], x=left - 12, y=y + 4, text_anchor="end"),
            element("path", d=f"M{across(low):.1f} {y - 5:g}v10m0-5H{across(high):.1f}m0-5v10", class_="whisker"),
            element("circle", cx=across(value), cy=y, r=4.5, class_="dot s1"),
        ]
    axis = _x_axis(across, x_label, bottom)
    said = "; ".join(f"{name}: {value:.2f} ({low:.2f} to {high:.2f})" for name, (value, low, high) in rows.items())
    return drawing(title, said, axis, *marks, height=bottom + 42)


def drawing(title: str, said: str, *content: Element, height: float = HEIGHT) -> Element:
    """An SVG that says what it shows."""
    return element(
        "svg",
        element("title", title),
        element("desc", said),
        *content,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        class_="chart",
    )


def key(names: Sequence[str]) -> Element:
    """Which colour is which series."""
    swatches = [
        element(
            "span",
            element("svg", element("line", x1=0.0, x2=22.0, y1=5.0, y2=5.0, class_="line"), viewBox="0 0 22 10"),
            name,
            class_=f"key {COLOURS[name]}",
        )
        for name in names
    ]
    return element("p", *swatches, class_="keys")


def _line(colour: str, points: Sequence[Point], across: Scale, up: Scale, hollow: Sequence[Point]) -> Element:
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    dots = [
        element("circle", cx=across(x), cy=up(y), r=3.2, class_="ring" if (x, y) in hollow else "dot")
        for x, y in (points if len(points) <= 40 else [])
    ]
    return element("g", element("polyline", points=path, class_="line"), *dots, class_=colour)


def _x_axis(scale: Scale, label: str, bottom: float = BOTTOM) -> Element:
    marks, last = [], -math.inf
    for tick in scale.ticks():
        x = scale(tick)
        marks.append(element("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid"))
        if x - last > 38:
            marks.append(element("text", f"{tick:,g}", x=x, y=bottom + 17, text_anchor="middle", class_="tick"))
            last = x
    middle = (scale.start + scale.end) / 2
    return element("g", *marks, element("text", label, x=middle, y=bottom + 36, text_anchor="middle", class_="tick"))


def _y_axis(scale: Scale) -> Element:
    unit = " ms" if scale.log else ""
    return element(
        "g",
        *(
            element(
                "g",
                element("line", x1=LEFT, x2=RIGHT, y1=scale(tick), y2=scale(tick), class_="grid"),
                element("text", f"{tick:,g}{unit}", x=LEFT - 8, y=scale(tick) + 4, text_anchor="end", class_="tick"),
            )
            for tick in scale.ticks()
        ),
    )


def _in_words(points: Sequence[Point]) -> str:
    values = [y for _, y in points]
    return f"{min(values):.3g} to {max(values):.3g} ms" if values else "nothing"
