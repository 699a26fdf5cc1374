"""W3C trace context, of which nothing but valid headers is believed."""

import pytest

from service.trace import TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_valid_header_names_its_trace() -> None:
    assert TraceContext.parse(f"00-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN, "01")


@pytest.mark.parametrize("header", [f"01-{TRACE}-{SPAN}-03", f"cc-{TRACE}-{SPAN}-03-what it says more"])
def test_a_later_version_is_read_as_far_as_this_one_goes(header: str) -> None:
    context = TraceContext.parse(header)
    assert context == TraceContext(TRACE, SPAN, "03")
    assert str(context) == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "header",
    [
        *("", "00", f"00-{TRACE}-{SPAN}", f"ff-{TRACE}-{SPAN}-01", f" 00-{TRACE}-{SPAN}-01"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01"),
        *(f"00-{TRACE}-{SPAN}-01-more", f"01-{TRACE}-{SPAN}-01more"),
    ],
)
def test_any_other_is_ignored(header: str) -> None:
    assert TraceContext.parse(header) is None
