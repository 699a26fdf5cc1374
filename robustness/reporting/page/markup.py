"""HTML and SVG put together as elements: what is not an element is text, and is escaped."""

from html import escape

VOID = frozenset({"br", "circle", "hr", "img", "line", "link", "meta", "path", "polygon", "polyline", "rect"})
"""Elements without content; those of SVG are closed with a slash, which HTML's own may have too."""


class Element(str):
    """Markup that is done: it is put into other elements as it is."""

    __slots__ = ()


Content = Element | str | int | None
Attribute = str | int | float | bool | None


def element(tag: str, *content: Content, **attributes: Attribute) -> Element:
    """`<name attribute="...">content</name>`; None and False leave out, True is an attribute without a value.

    An underscore at the end of an attribute's name falls away, one inside becomes a hyphen; numbers are rounded to
    hundredths of a unit.

    >>> element("p", "1 < 2", element("b", "!"), class_="a", data_x=None)
    '<p class="a">1 &lt; 2<b>!</b></p>'
    """
    head = "".join([tag, *(_attribute(key, value) for key, value in attributes.items())])
    return Element(f"<{head}/>" if tag in VOID else f"<{head}>{join(*content)}</{tag}>")


def join(*content: Content) -> Element:
    """Elements and texts one after the other, texts escaped, None left out."""
    return Element("".join(_escaped(each) for each in content if each is not None))


def _escaped(content: Element | str | int) -> str:
    return content if isinstance(content, Element) else escape(str(content))


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{escape(f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value))}"'
