"""What every section of the page is made of: sections, tables, numbers with their intervals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustness.norms import eps_text
from robustness.reporting.page.charts import share_bar
from robustness.reporting.page.markup import Content, Element, element, join
from robustness.reporting.share import Share

NORM_NAMES = {"linf": "L∞", "l2": "L2"}


@dataclass(frozen=True)
class Column:
    """A table's column: its head, whether numbers are in it, which stand on the right, or words that may wrap."""

    head: str
    number: bool = False
    wraps: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page with a title and a place to link to; `half` as wide as the page or as wide."""

    ident: str
    title: str
    body: Element
    half: bool = False

    def show(self) -> Element:
        return element("section", element("h2", self.title), self.body, id=self.ident)


def columns(names: str, numbers: str = "") -> list[Column]:
    """Columns from heads with `|` between them: those with words first, then those with numbers."""
    words = [Column(name) for name in names.split("|")]
    return words + [Column(name, number=True) for name in numbers.split("|") if name]


def table(label: str, heads: Sequence[Column], rows: Sequence[Sequence[Content]], strong: int | None = None) -> Element:
    """A table whose first cells name the rows; it scrolls in its own frame where it is too wide. `strong`: a row."""
    head = element("tr", *(element("th", each.head, scope="col", class_=_kind(each)) for each in heads))
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=_kind(column)) for cell, column in zip(row[1:], heads[1:], strict=True)),
            class_="strong" if index == strong else None,
        )
        for index, row in enumerate(rows)
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0)


def _kind(column: Column) -> str | None:
    return "number" if column.number else "wraps" if column.wraps else None


def percent(share: float) -> str:
    """`93.1%`.

    >>> percent(0.9306)
    '93.1%'
    """
    return f"{100 * share:.1f}%"


def interval(share: Share) -> str:
    """`91.3 to 94.5%`, the 95% interval."""
    return f"{100 * share.low:.1f} to {100 * share.high:.1f}%"


def share_cell(share: Share | None) -> Element | str:
    """A share in a table: number, bar, interval."""
    if share is None:
        return "–"
    if share.n == 0:
        return "of none"
    number = element("b", percent(share.share))
    return element(
        "span",
        number,
        share_bar(share),
        element("small", interval(share)),
        class_="share",
        title=f"{share.count} of {share.n}",
    )


def attack_text(name: str) -> str:
    """An attack's name, with an eps in it as people write it.

    >>> attack_text("apgd-joint_margin at eps 0.0313725")
    'apgd-joint_margin at eps 8/255'
    """
    return re.sub(r"(?<=\beps )\d*\.\d+", lambda found: eps_text(float(found[0])), name)


def ball_text(norm: str, eps: float) -> str:
    return f"{NORM_NAMES.get(norm, norm)} {eps_text(eps)}"


def definitions(pairs: Mapping[str, Content]) -> Element:
    """Names and what they stand for, one pair a line."""
    return element("dl", *(join(element("dt", name), element("dd", value)) for name, value in pairs.items()))


def parameters(values: Mapping[str, Any]) -> Element:
    """Parameters as they are in report.json."""
    return definitions(
        {
            name: eps_text(value) if name == "eps" and isinstance(value, float) else value_text(value)
            for name, value in values.items()
        }
    )


def value_text(value: Any) -> str:
    """A JSON value for people: no quotes around words, no more digits than a float needs.

    >>> value_text({"eps": 0.30000001, "on": None, "names": ["a", True]})
    'eps 0.3, on none, names a yes'
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {value_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " ".join(value_text(each) for each in value)
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def folded(title: str, *content: Content) -> Element:
    """Content that opens when its title is chosen."""
    return element("details", element("summary", title), *content)


def note(*content: Content) -> Element:
    return element("p", *content, class_="note")


def bytes_text(count: int) -> str:
    """A size in decimal units.

    >>> bytes_text(999), bytes_text(2_839_000)
    ('999 B', '2.8 MB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
