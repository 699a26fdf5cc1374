"""Reports of bundles: linked, served as page and JSON, refused where they are not the bundle's."""

from pathlib import Path

import pytest

from robustness.reporting.report import REPORT, Report
from robustness.reporting.report_html import PAGE, content_security_policy, page
from runtime.bundle import MANIFEST
from runtime.errors import BundleError
from tests.live import Live, Start, problem_of
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import bundle_catalog
from tests.toy_report import toy_report


@pytest.fixture
def attached(toy: ToyBundle, toy_copy: Path) -> Report:
    """A report for the copy of the toy bundle, put into it; and a page beside it that somebody has tampered with."""
    manifest = toy.manifest.model_copy(update={"report": REPORT})
    report = toy_report(manifest)
    (toy_copy / MANIFEST).write_text(manifest.model_dump_json())
    (toy_copy / REPORT).write_text(report.model_dump_json(indent=1))
    (toy_copy / PAGE).write_text("<script>alert(1)</script>")
    return report


def test_a_report_is_linked_and_served(start: Start, toy_copy: Path, attached: Report) -> None:
    server = start(bundle_catalog(toy_copy))
    (bundle,) = server.http.get("/bundles").json()["bundles"]
    assert bundle["report"] == "/bundles/toy/report"
    answer = server.http.get(bundle["report"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text == page(attached)  # drawn here: whatever HTML lies in the bundle is not served
    document = server.http.get("/bundles/toy/report.json")
    assert (document.status_code, document.headers["content-type"]) == (200, "application/json")
    assert document.content == (toy_copy / REPORT).read_bytes()


def test_a_browser_may_load_nothing_for_the_page(start: Start, toy_copy: Path, attached: Report) -> None:
    headers = start(bundle_catalog(toy_copy)).http.get("/bundles/toy/report").headers
    assert headers["content-security-policy"] == f"{content_security_policy()}; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/bundles/toy/report", "/bundles/toy/report.json"])
def test_a_bundle_without_a_report_says_how_to_make_one(server: Live, path: str) -> None:
    response = server.http.get(path)
    problem = problem_of(response)
    assert (response.status_code, problem["code"]) == (404, "no_report")
    assert "`empir evaluate toy --attach` makes one" in problem["detail"]
    assert server.http.get("/bundles").json()["bundles"][0]["report"] is None


@pytest.mark.parametrize("path", ["/bundles/no/report", "/bundles/no/report.json"])
def test_a_bundle_that_is_not_served_is_unknown(server: Live, path: str) -> None:
    response = server.http.get(path)
    assert (response.status_code, problem_of(response)["code"]) == (404, "unknown_bundle")


@pytest.mark.parametrize(
    "file", ["bundle.json", "fp32.onnx", "report.html", "..%2f..%2fetc%2fpasswd", "adversarial.npz"]
)
def test_no_other_file_of_a_bundle_is_served(start: Start, toy_copy: Path, attached: Report, file: str) -> None:
    response = start(bundle_catalog(toy_copy)).http.get(f"/bundles/toy/{file}")
    assert (response.status_code, problem_of(response)["code"]) == (404, "not_found")


def test_a_bundle_whose_report_is_about_other_graphs_is_not_served(toy: ToyBundle, toy_copy: Path) -> None:
    manifest = toy.manifest.model_copy(update={"report": REPORT})
    (toy_copy / MANIFEST).write_text(manifest.model_dump_json())
    (toy_copy / REPORT).write_text(toy_report(manifest.model_copy(update={"name": "other"})).model_dump_json())
    with pytest.raises(BundleError, match="expected a report on toy, got one on 'other'"):
        bundle_catalog(toy_copy)
