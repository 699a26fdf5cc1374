"""HTML and SVG as elements of the standard library's tree, which escapes what is text."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

STYLE = Path(__file__).with_name("style.css")
Attribute = str | float

__all__ = ["Element", "definitions", "element", "page", "section", "table"]


def element(tag: str, *content: Element | str, **attributes: Attribute) -> Element:
    """An element; an underscore at the end of an attribute's name falls away, one inside becomes a hyphen.

    >>> tostring(element("p", "1 < 2", element("b", "!"), class_="a"), "unicode")
    '<p class="a">1 &lt; 2<b>!</b></p>'
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()})
    for each in content:
        if isinstance(each, Element):
            made.append(each)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + each
        else:
            made.text = (made.text or "") + each
    return made


def section(title: str, *content: Element) -> Element:
    """A part of the page."""
    return element("section", element("h2", title), *content)


def table(label: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    """A table whose first cells name the rows; the others are numbers. It scrolls in its own frame."""
    head = element("tr", *(element("th", each, scope="col") for each in heads))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex="0")


def definitions(values: Mapping[str, str]) -> Element:
    """Names and what they stand for."""
    made = element("dl")
    for name, value in values.items():
        SubElement(made, "dt").text = name
        SubElement(made, "dd").text = value
    return made


def page(title: str, body: Sequence[Element]) -> str:
    """The whole file. Its policy allows its own style, by hash, and nothing else."""
    style = STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", style),
    )
    whole = element("html", head, element("body", element("main", *body)), lang="en")
    return "<!doctype html>\n" + tostring(whole, "unicode", method="html") + "\n"


def _text(value: Attribute) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
