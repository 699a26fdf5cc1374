"""`report.html`: a report as one page for people, without script, without network, in light and dark."""

import base64
import hashlib
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError

from robustness.reporting.older import told_now
from robustness.reporting.page import attacks, head, measured, members, origin
from robustness.reporting.page.markup import Element, element
from robustness.reporting.page.parts import Section
from robustness.reporting.report import Report
from runtime.aside import write_aside
from runtime.errors import EmpirError
from runtime.expectation import expectation

PAGE = "report.html"


class BadReport(EmpirError):
    """A report that cannot be read."""

    code = "bad_report"


def read_report(path: Path) -> Report:
    """The report in a file. Raises BadReport, naming the file and the field."""
    try:
        return parse_report(path.read_bytes())
    except OSError as error:
        raise BadReport(f"{path}: cannot be read: {error.strerror or error}") from error
    except BadReport as error:
        raise BadReport(f"{path}: {error}") from error


def parse_report(data: bytes) -> Report:
    """The report in the bytes of a report.json. Raises BadReport, naming the field."""
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadReport(f"expected a report of `empir evaluate`; {where}: {expectation(first)}") from error


def write_page(path: Path) -> Path:
    """Write the page of a report.json beside it; where. Raises BadReport."""
    out = path.with_suffix(".html")
    write_aside(out, page(read_report(path)).encode())
    return out


def page(report: Report) -> str:
    """The whole page. Sections for which the report has nothing are left out; an older report is told as of now."""
    report = told_now(report)
    sections = [section for section in _sections(report) if section is not None]
    title = f"{report.bundle.name}: robustness report"
    links = [(section.ident, section.title) for section in sections]
    body = element(
        "body",
        head.alarm(report),
        element(
            "main",
            head.head(report),
            head.findings(report),
            head.contents(links),
            *_shown(sections),
        ),
    )
    return "<!doctype html>\n" + element("html", _head(title), body, lang="en") + "\n"


def _shown(sections: list[Section]) -> list[Element]:
    """The sections, those that are half as wide as the page in pairs."""
    shown: list[Element] = []
    for half, group in groupby(sections, key=lambda section: section.half):
        parts = [section.show() for section in group]
        shown += [element("div", *parts, class_="pair")] if half else parts
    return shown


def _sections(report: Report) -> list[Section | None]:
    return [
        attacks.curve(report),
        members.sizes(report),
        members.members(report),
        attacks.attacks(report),
        measured.paper(report),
        attacks.transfer(report),
        members.classes(report),
        members.gallery(report),
        measured.detection(report.detection),
        measured.costs(report.overhead, report.bundle.recipe),
        origin.checklist(report),
        origin.origin(report),
    ]


def _head(title: str) -> Element:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=content_security_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Element(_style())),
    )


def content_security_policy() -> str:
    """Nothing but the page's style sheet and the pictures in it: no script, no network, no form."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _style() -> str:
    return files("robustness.reporting.page").joinpath("style.css").read_text(encoding="utf-8")
