"""Charts: data where the scales say, intervals that hold the data, words for those who do not see them."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.reporting.page import charts
from robustness.reporting.page.markup import Element
from robustness.reporting.share import Share

Tag = ElementTree.Element
SHARES = st.integers(1, 50).flatmap(lambda n: st.integers(0, n).map(lambda count: Share.of(count, n)))


def parsed(svg: Element) -> Tag:
    return ElementTree.fromstring(svg)


def points(shape: Tag) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in shape.attrib["points"].split())]


def test_accuracy_stands_at_its_eps_and_share() -> None:
    shares = [Share.of(4, 4), Share.of(1, 4), Share.of(0, 4)]
    chart = parsed(charts.accuracy_chart([0, 0.1, 0.15], {"vote": shares}, 0.15, "eps"))
    frame = charts.Frame(42, 12, charts.WIDTH - 12, 232)
    (line,) = chart.iter("polyline")
    expected = [(42, 12), (42 + (frame.right - 42) * 2 / 3, 12 + 220 * 0.75), (frame.right, 232)]
    assert all(
        abs(a - b) < 0.1
        for one, other in zip(points(line), expected, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    (rule,) = [each for each in chart.iter("line") if each.get("class") == "rule"]
    assert abs(float(rule.attrib["x1"]) - frame.right) < 0.1


@given(st.lists(SHARES, min_size=2, max_size=6))
def test_the_band_holds_the_line(shares: list[Share]) -> None:
    eps = [0.1 * index for index in range(len(shares))]
    chart = parsed(charts.accuracy_chart(eps, {"vote": shares}, 9, "eps"))
    (line,), (band,) = chart.iter("polyline"), chart.iter("polygon")
    upper, lower = points(band)[: len(shares)], points(band)[len(shares) :][::-1]
    for (x, y), (left, top), (right, bottom) in zip(points(line), upper, lower, strict=True):
        assert left == x == right and top <= y <= bottom


def test_a_chart_says_its_numbers_in_words() -> None:
    rows = [("vote", Share.of(9, 10), Share.of(1, 10)), ("fp32", Share.of(8, 10), Share.of(0, 10))]
    chart = parsed(charts.gauge(rows))
    assert chart.get("role") == "img"
    assert chart.findtext("title") == "Clean accuracy and worst case"
    assert chart.findtext("desc") == "vote: clean 90.0%, worst case 10.0%; fp32: clean 80.0%, worst case 0.0%"


def test_the_tallest_bar_reaches_the_top_and_the_line_the_share_that_fell() -> None:
    chart = parsed(charts.size_chart([0, 0.1, 0.2], [3, 1], [0.05, 0.05, 0.05, 0.2], 8, "size"))
    bars = [each for each in chart.iter("rect") if each.get("class") == "bin"]
    assert [round(float(each.attrib["height"])) for each in bars] == [165, 55]  # of 220, which is 4 images
    (line,) = chart.iter("path")
    assert line.attrib["d"].endswith(f"V{232 - 220 * 4 / 8:.1f}H{charts.WIDTH - 38:.1f}")


@pytest.mark.parametrize(
    ("most", "ticks"), [(0, [0, 1, 2, 3, 4]), (4, [0, 1, 2, 3, 4]), (161, [0, 50, 100, 150, 200])], ids=str
)
def test_images_are_counted_on_the_right_at_the_heights_of_the_shares(most: int, ticks: list[int]) -> None:
    chart = parsed(charts.size_chart([0, 0.1, 0.2], [most, 0], [], 200, "size"))
    texts = [each for each in chart.iter("text") if "tick" in each.get("class", "")]
    right = {each.text: each.attrib["y"] for each in texts if "count" in each.attrib["class"]}
    left = {each.text: each.attrib["y"] for each in texts if (each.text or "").endswith("%")}
    assert list(right) == [str(tick) for tick in ticks]
    assert list(right.values()) == [left[f"{share}%"] for share in (0, 25, 50, 75, 100)]
    (bar, _) = (float(each.attrib["height"]) for each in chart.iter("rect") if each.get("class") == "bin")
    assert bar == pytest.approx(220 * most / ticks[-1], abs=0.01)


def test_many_members_share_the_palette_and_none_takes_the_votes_colour() -> None:
    classes = [charts.series_class(index) for index in range(14)]
    assert classes[:7] == ["s0", "s1", "s2", "s3", "s4", "s5", "s1"]
    assert classes.count("s0") == 1 and len(set(classes)) == charts.PALETTE
