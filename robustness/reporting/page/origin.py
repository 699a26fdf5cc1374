"""The end of the page: the checklist, and all that is needed to make the report again."""

from robustness.reporting.page.markup import Content, Element, element, join
from robustness.reporting.page.parts import (
    Section,
    ball_text,
    bytes_text,
    columns,
    definitions,
    folded,
    note,
    table,
    value_text,
)
from robustness.reporting.report import Report


def checklist(report: Report) -> Section:
    """The checks that can fail."""
    items = [
        element(
            "li",
            element("b", "passed" if check.passed else "failed", class_="passed" if check.passed else "failed"),
            element("div", element("b", check.name), element("p", check.sentence)),
        )
        for check in report.checks
    ]
    text = "After Carlini et al., On evaluating adversarial robustness (arXiv 1902.06705)."
    return Section("checks", "Checklist", join(element("ul", *items, class_="checks"), note(text)))


def origin(report: Report) -> Section:
    """Command, hardware, seed, images, hashes."""
    run, images = report.run, report.images
    facts: dict[str, Content] = {
        "command": element("code", run.command),
        "made": f"{run.created}, in {run.seconds:,.0f} s ({run.attack_seconds:,.0f} s of attacks, {run.workers} "
        f"{'process' if run.workers == 1 else 'processes'}, {run.chunk} images at once)",
        "hardware": run.hardware,
        "ball": f"{ball_text(report.norm, report.eps)}, and {report.tolerance:.0e} for rounding",
        "suite": f"{report.suite}, version {report.suite_version}",
        "seed": report.seed,
        "images": f"{images.n} of the {images.total:,} test images of {images.data_set}, drawn by the seed",
        "confirmed": f"{report.confirmed.count} of {report.confirmed.n} adversarial images, judged once more",
        "code": element("code", run.git_commit),
        "packages": value_text(run.packages),
    }
    bundle = report.bundle
    hashes: list[list[Content]] = [[each.name, _hash(each.sha256), bytes_text(each.bytes)] for each in report.files]
    for member in bundle.members:
        hashes.append([f"{member.name}, graph", _hash(member.sha256), bytes_text(member.packed_bytes)])
        if member.gradient_sha256 is not None:
            hashes.append([f"{member.name}, gradients", _hash(member.gradient_sha256), ""])
    sums: list[list[Content]] = [
        [f"{images.data_set}: {name}", _hash(value), ""] for name, value in images.sums.items()
    ]
    if images.pixels_sha256 is not None:
        sums.append([f"{images.data_set}: pixels of the {images.n} images", _hash(images.pixels_sha256), ""])
    heads = columns("File|Checksum", "Size")
    indices = element("p", " ".join(str(index) for index in images.indices), class_="indices")
    body = join(
        definitions(facts),
        folded("Checksums", table("Checksums", heads, [*hashes, *sums])),
        folded(f"The {images.n} images, by their index in the test set", indices),
        _unreadable(images.unreadable),
    )
    return Section("origin", "How it was made", body)


def _unreadable(reasons: dict[str, str]) -> Element | None:
    if not reasons:
        return None
    rows: list[list[Content]] = [[name, reason] for name, reason in reasons.items()]
    title = f"Left out because unreadable: {len(reasons):,}"
    return folded(title, table("Images that cannot be read", columns("Image|Why", ""), rows))


def _hash(value: str) -> Element:
    return element("code", value)
