"""The report that a bundle has: read, put there, and refused where it is about other graphs than the bundle's."""

from dataclasses import dataclass
from pathlib import Path

from robustness.reporting.report import ADVERSARIAL, REPORT, Report
from robustness.reporting.report_html import PAGE, BadReport, parse_report
from runtime.aside import write_aside
from runtime.bundle import MANIFEST, read_manifest
from runtime.errors import BundleError, InvalidValue
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


def about_another_detector(report: Report, manifest: Manifest) -> bool:
    """Whether `empir threshold` has chosen anew since the report measured what the detector sees."""
    measured, served = report.detection, manifest.detection
    if measured is None or served is None:
        return measured is not None
    there = measured.score, measured.threshold, measured.members
    return there != (served.score, served.threshold, [*served.members])


def attach_report(out: Path, bundle: Path, *, replace: bool = False) -> None:
    """Copy the report of the folder `out` into the bundle, and name it in the manifest; its version stays what it is.

    Raises BundleError if it is about other graphs than the bundle's, and InvalidValue as `refuse_to_lose` does, unless
    it may `replace` what is there; nothing is written then.
    """
    manifest = read_manifest(bundle)
    data = (out / REPORT).read_bytes()
    report = parse_report(data)
    _refuse_another(out / REPORT, report, manifest)
    if not replace:
        refuse_to_lose(bundle, manifest, report.images.n)
    for name in (ADVERSARIAL, PAGE):
        if (out / name).exists():
            write_aside(bundle / name, (out / name).read_bytes())
    write_aside(bundle / REPORT, data)
    named = manifest.model_copy(update={"report": REPORT})
    write_aside(bundle / MANIFEST, (named.model_dump_json(indent=2) + "\n").encode())


def refuse_to_lose(bundle: Path, manifest: Manifest, n: int) -> None:
    """Raises InvalidValue if the bundle's report on these graphs has claims entered, or more than n images."""
    try:
        attached = attached_report(bundle, manifest)
    except BundleError:  # about other graphs, or not to be read: nothing that counts is lost
        return
    if attached is None:
        return
    path, there = bundle / REPORT, attached.report
    claims = sum(row.purpose == "claim" for row in there.attacks)
    if claims:
        raise InvalidValue(
            f"{path}: has {claims} entered claim{'s' * (claims > 1)} that a new report would not know; expected "
            f"--force, with a copy of {ADVERSARIAL} to enter again: empir check {manifest.name} COPY.npz --enter"
        )
    if there.images.n > n:
        raise InvalidValue(
            f"{path}: is about {there.images.n:,} images, the new one about {n:,}; expected as many, or --force"
        )


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
