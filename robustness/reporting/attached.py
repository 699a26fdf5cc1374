"""The report that a bundle has: read, and refused where it is about other graphs than the bundle's."""

from dataclasses import dataclass
from pathlib import Path

from robustness.reporting.report import Report
from robustness.reporting.report_html import BadReport, parse_report
from runtime.bundle import MANIFEST
from runtime.errors import BundleError
from runtime.manifest import Manifest


@dataclass(frozen=True)
class Attached:
    """A bundle's report, and the bytes of its file."""

    report: Report
    data: bytes


def attached_report(folder: Path, manifest: Manifest) -> Attached | None:
    """The report that the manifest names; None if it names none.

    A report has no checksum in the manifest: it is there to be lowered. What binds it to the bundle is that it names
    the sha256 of every graph that was attacked, and the vote. Raises BundleError if they are not the
    bundle's, or it cannot be read.
    """
    if manifest.report is None:
        return None
    path = folder / manifest.report
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path}: {MANIFEST} names it as the report; expected a plain file, there is none")
    data = path.read_bytes()
    try:
        report = parse_report(data)
    except BadReport as error:
        raise BundleError(f"{path}: {error}") from error
    _refuse_another(path, report, manifest)
    return Attached(report, data)


def _refuse_another(path: Path, report: Report, manifest: Manifest) -> None:
    if report.bundle.name != manifest.name:
        raise BundleError(f"{path}: expected a report on {manifest.name}, got one on {report.bundle.name!r}")
    voted = {"rule": manifest.vote.rule, "tie_breaker": manifest.vote.tie_breaker}
    for name, here in voted.items():
        if (there := getattr(report.bundle, name)) != here:
            raise BundleError(f"{path}: is about another vote: {name} is {there!r} there, in {MANIFEST} {here!r}")
    attacked = {member.name: member.sha256 for member in report.bundle.members}
    served = {member.name: member.sha256 for member in manifest.members}
    for name in served | attacked:
        if served.get(name) != attacked.get(name):
            raise BundleError(
                f"{path}: is about other graphs: the sha256 of {name} is {attacked.get(name)} there, "
                f"in {MANIFEST} {served.get(name)}"
            )
