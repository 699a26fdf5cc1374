"""A bundle's report: there, readable, and about the graphs that the bundle has."""

import re
from pathlib import Path
from typing import Any

import pytest

from robustness.reporting.attached import attached_report
from robustness.reporting.report import REPORT, Report
from runtime.errors import BundleError
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
