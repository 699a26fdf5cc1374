"""The bundles: checksums, kernels, reports, and the one that answers by default."""

from pathlib import Path

from robustness.norms import eps_text
from robustness.reporting.attached import about_another_detector, attached_report
from runtime.bundle import MANIFEST, Bundle, bundle_folders, load_bundle
from runtime.errors import BundleError
from runtime.kernels import Kernels, kernels_of
from runtime.manifest import Manifest
from service.doctor.finding import Finding, fail, ok, warn

SHOWN = 3
"""Kernels of a member that are named."""


def examined(root: Path, default: str) -> tuple[list[Finding], int]:
    """What there is to say of the bundles in `root`, and the bytes of their graphs."""
    folders = bundle_folders(root)
    if not folders:
        what = "a folder of bundles" if root.is_dir() else "a folder"
        advice = "Name one with --bundles or EMPIR_BUNDLES, or make one: empir train, empir quantize"
        return [fail("bundles", f"{root}: expected {what}, folders with a {MANIFEST}; there is none", advice)], 0
    findings, size = [], 0
    for folder in folders:
        try:
            bundle = load_bundle(folder, gradients=True)
        except BundleError as error:
            advice = f"{_without(folder.name, default)}: restore its files, or move it out of the folder"
            findings.append(fail(folder.name, str(error), advice))
            continue
        size += sum(len(graph) for graph in bundle.graphs.values())
        findings += [_sums(bundle), *_kernels(bundle), _report(folder, bundle.manifest, default)]
    return [*findings, _default(default, [folder.name for folder in folders])], size


def _sums(bundle: Bundle) -> Finding:
    manifest, files = bundle.manifest, len(bundle.graphs)
    return ok(manifest.name, f"version {manifest.version}, {files} graphs, every checksum is right")


def _kernels(bundle: Bundle) -> list[Finding]:
    findings = []
    for entry in bundle.manifest.members:
        topic = f"{bundle.manifest.name}, {entry.name}"
        try:
            kernels = kernels_of(bundle, entry)
        except BundleError as error:
            findings.append(fail(topic, str(error), "Make the bundle again, or update ONNX Runtime"))
            continue
        findings.append(judged(topic, str(entry.precision), entry.precision.is_float, kernels))
    return findings


def judged(topic: str, precision: str, is_float: bool, kernels: Kernels) -> Finding:
    """Whether a member runs the kernels that its precision is there for."""
    longest = ", ".join(kernels.longest(SHOWN))
    found = f"{precision}: {kernels.integer_share:.0%} of its time in integer kernels ({longest})"
    if is_float:
        return ok(topic, f"{precision}: floating point ({longest})")
    if kernels.slow:
        return warn(
            topic, f"{found}; {', '.join(kernels.slow)} has no quick kernel", "Make the bundle again: QLinearConv"
        )
    if kernels.integer_share == 0:
        return warn(
            topic, f"{found}: no quicker than full precision", "Make the bundle again, with this project's export"
        )
    return ok(topic, found)


def _without(name: str, default: str) -> str:
    """What the server does about a bundle that it refuses."""
    return "The server does not start with it" if name == default else "The server starts, and does not serve it"


def _report(folder: Path, manifest: Manifest, default: str) -> Finding:
    topic = f"{manifest.name}, report"
    measure = f"Measure it: empir evaluate {manifest.name} --attach"
    try:
        attached = attached_report(folder, manifest)
    except BundleError as error:
        return fail(topic, str(error), f"{_without(manifest.name, default)}. {measure} --force")
    if attached is None:
        return warn(topic, "none: nobody has measured what this bundle withstands", measure)
    report = attached.report
    where = f"{report.suite}, {report.norm} {eps_text(report.eps)}, n = {report.robust.n}"
    robust = f"{report.robust.share:.1%} robust ({where})"
    if report.bundle.version != manifest.version:
        return warn(topic, f"on version {report.bundle.version}, the bundle is {manifest.version}", measure)
    if about_another_detector(report, manifest):
        return warn(topic, f"{robust}; what it says of `suspicious` is about another score or threshold", measure)
    if not report.trustworthy:
        return warn(topic, f"{robust}, but checks failed: {', '.join(report.failed_checks)}", "Read the report's head")
    return ok(topic, f"{robust}; same version, every check passed")


def _default(default: str, names: list[str]) -> Finding:
    if default in names:
        return ok("default bundle", default)
    advice = f"--default {names[0]}, or EMPIR_DEFAULT={names[0]}"
    return fail("default bundle", f"expected one of {', '.join(names)}, got {default!r}", advice)
