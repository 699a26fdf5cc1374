"""A bundle's report: there, readable, and about the graphs that the bundle has."""

import re
from pathlib import Path
from typing import Any

import pytest

from robustness.reporting.attached import attach_report, attached_report
from robustness.reporting.report import ADVERSARIAL, REPORT, Report
from robustness.reporting.report_html import PAGE
from runtime.bundle import MANIFEST as BUNDLE
from runtime.bundle import read_manifest
from runtime.errors import BundleError, InvalidValue
from runtime.manifest import Manifest
from tests.linear_victim import AVERAGE, LINEAR_MANIFEST
from tests.toy_report import HASH, toy_report

MANIFEST = LINEAR_MANIFEST.model_copy(update={"report": REPORT})


def write(folder: Path, report: Report) -> None:
    (folder / REPORT).write_text(report.model_dump_json())


def test_a_report_comes_with_its_bytes(tmp_path: Path) -> None:
    write(tmp_path, toy_report(MANIFEST))
    attached = attached_report(tmp_path, MANIFEST)
    assert attached is not None
    assert (attached.report, attached.data) == (toy_report(MANIFEST), (tmp_path / REPORT).read_bytes())


def test_a_report_that_the_manifest_does_not_name_is_none(tmp_path: Path) -> None:
    write(tmp_path, toy_report(MANIFEST))
    assert attached_report(tmp_path, LINEAR_MANIFEST) is None


def test_a_report_that_is_missing_or_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="names it as the report; expected a plain file"):
        attached_report(tmp_path, MANIFEST)
    (tmp_path / "elsewhere.json").write_text(toy_report(MANIFEST).model_dump_json())
    (tmp_path / REPORT).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="expected a plain file"):
        attached_report(tmp_path, MANIFEST)


def test_a_report_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text('{"trustworthy": true')
    with pytest.raises(BundleError, match=r"report\.json: expected a report of `empir evaluate`"):
        attached_report(tmp_path, MANIFEST)


def other_graph(manifest: Manifest) -> Manifest:
    first, *others = manifest.members
    return manifest.model_copy(update={"members": (first.model_copy(update={"sha256": HASH}), *others)})


@pytest.mark.parametrize(
    ("attacked", "says"),
    [
        (MANIFEST.model_copy(update={"name": "other"}), "expected a report on toy, got one on 'other'"),
        (other_graph(MANIFEST), f"the sha256 of low-a is {HASH} there, in bundle.json {'0' * 64}"),
        (MANIFEST.model_copy(update={"members": MANIFEST.members[1:]}), "the sha256 of low-a is None there"),
        (
            MANIFEST.model_copy(update={"vote": AVERAGE}),
            "is about another vote: rule is 'average' there, in bundle.json 'majority'",
        ),
    ],
    ids=["another bundle", "another graph", "a member less", "another vote"],
)
def test_a_report_on_other_graphs_is_refused(tmp_path: Path, attacked: Manifest, says: Any) -> None:
    write(tmp_path, toy_report(attacked))
    with pytest.raises(BundleError, match=re.escape(says)):
        attached_report(tmp_path, MANIFEST)


def made(folder: Path, report: Report) -> Path:
    """The folder of a report, with its page, its images and a file that is no part of it."""
    folder.mkdir()
    write(folder, report)
    for name in (PAGE, ADVERSARIAL, BUNDLE):
        (folder / name).write_text(f"{name} of the report")
    return folder


def bundle_with(folder: Path, report: Report | None) -> Path:
    bundle = folder / MANIFEST.name
    bundle.mkdir(exist_ok=True)
    manifest = LINEAR_MANIFEST if report is None else MANIFEST
    (bundle / BUNDLE).write_text(manifest.model_dump_json())
    if report is not None:
        write(bundle, report)
    return bundle


def claimed() -> Report:
    report = toy_report(MANIFEST)
    claim = report.attacks[0].model_copy(update={"name": "claim: x.npz", "purpose": "claim"})
    return report.model_copy(update={"attacks": [*report.attacks, claim]})


def of_images(n: int) -> Report:
    report = toy_report(MANIFEST)
    return report.model_copy(update={"images": report.images.model_copy(update={"n": n})})


def test_attached_are_the_report_its_page_and_its_images(tmp_path: Path) -> None:
    out, bundle = made(tmp_path / "out", of_images(9)), bundle_with(tmp_path, toy_report(MANIFEST))
    attach_report(out, bundle)
    for name in (REPORT, PAGE, ADVERSARIAL):
        assert (bundle / name).read_bytes() == (out / name).read_bytes()
    assert read_manifest(bundle) == MANIFEST


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (claimed(), "has 1 entered claim that a new report would not know; expected --force, with a copy of"),
        (of_images(1000), "is about 1,000 images, the new one about 8; expected as many, or --force"),
    ],
    ids=["claims", "more images"],
)
def test_a_report_that_says_more_is_replaced_by_force_alone(tmp_path: Path, there: Report, says: str) -> None:
    out, bundle = made(tmp_path / "out", toy_report(MANIFEST)), bundle_with(tmp_path, there)
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with pytest.raises(InvalidValue, match=re.escape(says)):
        attach_report(out, bundle)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    attach_report(out, bundle, replace=True)
    assert (bundle / REPORT).read_bytes() == (out / REPORT).read_bytes()


def test_a_report_on_graphs_that_are_no_longer_the_bundles_is_not_attached(tmp_path: Path) -> None:
    out, bundle = made(tmp_path / "out", toy_report(other_graph(MANIFEST))), bundle_with(tmp_path, None)
    with pytest.raises(BundleError, match="is about other graphs"):
        attach_report(out, bundle)
    assert [path.name for path in bundle.iterdir()] == [BUNDLE]


def test_an_old_report_on_other_graphs_is_replaced(tmp_path: Path) -> None:
    there = toy_report(other_graph(MANIFEST))
    out, bundle = made(tmp_path / "out", toy_report(MANIFEST)), bundle_with(tmp_path, there)
    attach_report(out, bundle)
    assert (bundle / REPORT).read_bytes() == (out / REPORT).read_bytes()
