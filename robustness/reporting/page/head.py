"""The top of the page: what was attacked, the one sentence that matters, and what failed if something did."""

from robustness.reporting.page.charts import gauge
from robustness.reporting.page.markup import Element, element, join
from robustness.reporting.page.parts import ball_text, interval, percent
from robustness.reporting.report import VOTE, Report


def alarm(report: Report) -> Element | None:
    """The checks that failed, where the report is not to be trusted."""
    if report.trustworthy:
        return None
    failed = [check for check in report.checks if not check.passed]
    return element(
        "div",
        element("h2", "This report is not trustworthy"),
        element(
            "p", "Checks that a sound evaluation must pass have failed. Robust accuracy may be lower than it says."
        ),
        element("ul", *(element("li", element("b", check.name), ": ", check.sentence) for check in failed)),
        class_="alarm",
        role="alert",
    )


def head(report: Report) -> Element:
    """Title, the worst case in large figures, and clean beside worst case for the vote and every member."""
    bundle = report.bundle
    title = element("h1", element("small", "Robustness report"), element("span", bundle.name))
    version = f"version {bundle.version}, {len(bundle.members)} members, {_vote(report)}"
    rows = [(VOTE, report.clean, report.robust), *((each.name, each.clean, each.robust) for each in report.members)]
    reading = element("p", percent(report.robust.share), class_="reading")
    verdict = element("div", reading, element("p", *_sentence(report), class_="sentence"))
    key = element("figcaption", "Ring: clean accuracy. Dot: worst case. With 95% intervals; members judged alone.")
    figure = element("figure", gauge(rows), key)
    return element("header", title, element("p", version, class_="note"), element("div", verdict, figure, class_="top"))


def _sentence(report: Report) -> list[Element | str]:
    claims = " and every claim entered since" if report.claims else ""
    return [
        element("b", "Worst case: "),
        f"{report.robust.count} of {report.robust.n} test images of {report.images.data_set} keep the right verdict "
        f"within {ball_text(report.norm, report.eps)} under every attack of the suite {report.suite}{claims} "
        f"(95% interval {interval(report.robust)}; images wrong before any attack count as failures). Clean accuracy: "
        f"{percent(report.clean.share)} ({interval(report.clean)}).",
    ]


def _vote(report: Report) -> str:
    if report.bundle.rule == "majority":
        return f"majority vote, {report.bundle.tie_breaker} breaks ties"
    return "average of the members' probabilities"


SAID = ("Not trustworthy", "Clean accuracy", "No attack of the suite")
"""How sentences of a report begin that the page says in its alarm and in its head."""


def findings(report: Report) -> Element:
    """What else the report says in words: above all what it does not show."""
    sentences = [each for each in report.summary if not each.startswith(SAID)]
    return element("ul", *(element("li", each) for each in sentences), class_="findings")


def contents(links: list[tuple[str, str]]) -> Element:
    """Links to the sections."""
    return element(
        "nav", join(*(element("a", title, href=f"#{ident}") for ident, title in links)), aria_label="Sections"
    )
