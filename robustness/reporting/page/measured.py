"""Sections beside the attacks: the paper's table, the detector, what the ensemble costs."""

from collections.abc import Callable

from robustness.detection.detection_report import AttackerRow, DetectionReport, Way
from robustness.reporting.overhead import TURNED, OverheadReport
from robustness.reporting.page.markup import Content, Element, element, join
from robustness.reporting.page.parts import (
    Section,
    bytes_text,
    columns,
    folded,
    interval,
    note,
    parameters,
    percent,
    table,
)
from robustness.reporting.report import PaperRow, Report
from robustness.reporting.share import Share

BY_LAYERS = {
    "mnist-empir": "by the layers of the paper's network about 13% more storage",
    "cifar10-empir": (
        "by the layers of the paper's network about 77% more storage: its fully connected layers, most of its weights, "
        "stay fp32 inside the low-precision members"
    ),
    "imagenet-empir": "by the layers of AlexNet about 31% more storage",
}
"""By recipe: storage over the full-precision member if every weight took exactly its bits."""


def paper(report: Report) -> Section | None:
    """The paper's table beside ours, and beside that what an adaptive attacker leaves."""
    data = report.paper
    if data is None:
        return None
    adaptive = {"ensemble": report.robust, **{f"{each.name} alone": each.robust for each in report.members}}
    rows: list[list[Content]] = []
    for row in data.rows:
        if row.paper is not None:
            printed = [f"{row.paper[name]:.2f}" if name in row.paper else "–" for name in data.columns]
            rows.append([_named(row.what, "the paper"), "–", *printed])
        rows.append([_named(row.what, "here"), _worst(adaptive.get(row.what)), *_ours(row, data.columns)])
    heads = columns("", "|".join(_head(name) for name in ("adaptive, here", *data.columns)))
    warnings = element("ul", *(element("li", each) for each in data.warnings), class_="findings")
    last = f"n = {report.images.n}. First column: what all attacks of this report leave, adaptive ones included."
    body = join(warnings, table(data.title, heads, rows), note(data.title, ", ", last))
    return Section("paper", "The paper and this report", body)


def _named(what: str, more: str) -> Element:
    return join(what, element("small", more))


def _head(name: str) -> str:
    return name.upper() if name in ("cw", "fgsm", "bim", "pgd") else name


def _ours(row: PaperRow, names: list[str]) -> list[Content]:
    cells: list[Content] = []
    for name in names:
        if name == "mean":
            cells.append(f"{row.ours_mean:.2f}")
        else:
            share = row.ours.get(name)
            cells.append("–" if share is None else join(f"{100 * share.share:.2f}", element("small", interval(share))))
    return cells


def _worst(share: Share | None) -> Content:
    if share is None:
        return "–"
    return join(element("b", f"{100 * share.share:.2f}", class_="fallen"), element("small", interval(share)))


def detection(data: DetectionReport | None) -> Section | None:
    """What the detector sees of three attackers, who know more and more."""
    if data is None:
        return None
    rows: list[list[Content]] = [
        [
            element("details", element("summary", row.attacker), parameters(row.parameters)),
            _area(row),
            _seen(row.detected),
            f"{row.succeeded} of {row.attacked}",
        ]
        for row in data.attackers
    ]
    heads = columns("Attacker", "AUROC|Seen at the threshold|Verdicts turned")
    alarms, count = data.clean_false_alarms, f"{data.threshold_images:,} " if data.threshold_images else ""
    text = (
        f"Score: {data.score.replace('_', ' ')} of {', '.join(data.members)}. Above {data.threshold:.4g}, chosen on "
        f"{count}clean validation images, an image is suspicious; of {alarms.n} clean test images "
        f"{percent(alarms.share)} are ({interval(alarms)}). Only images count whose "
        f"verdict was right and is wrong under attack. {_which(data)} "
        f"Areas with 95% intervals (Hanley and McNeil's error). "
        f"Seed {data.seed}."
    )
    body = join(note(text), table("Detection by attacker", heads, rows), _ways_tried(data))
    return Section("detection", "Detection", body)


def _which(data: DetectionReport) -> str:
    """The images attacked, and what of the attackers' work is shown."""
    if not any(row.ways for row in data.attackers):
        return (
            "Attacked were the first images as drawn. The vote-aware attacker here stops where the vote falls, where "
            "the members are farthest apart: that flatters the detector, and one who goes on may be seen far less; "
            "that was not measured."
        )
    first = f"Of the images attacked the first {data.known_first} were known to fall. " if data.known_first else ""
    return f"{first}Of an attacker's ways the one that is seen worst is shown, if it turns half as many as another."


def _ways_tried(data: DetectionReport) -> Element | None:
    rows: list[list[Content]] = [
        [row.attacker, way.loss, way.keeps, _area(way), _seen(way.detected), f"{way.succeeded}"]
        for row in data.attackers
        for way in row.ways
    ]
    if not rows:
        return None
    heads = columns("Attacker|Loss|Keeps", "AUROC|Seen at the threshold|Verdicts turned")
    return folded("Every way that was tried", table("Every way that was tried", heads, rows))


def _area(row: AttackerRow | Way) -> Content:
    if row.auroc is None:
        return "–"
    limits = None if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"
    return join(f"{row.auroc:.3f}", None if limits is None else element("small", limits))


def _seen(share: Share) -> Content:
    return join(percent(share.share), element("small", interval(share))) if share.n else "–"


def costs(data: OverheadReport | None, recipe: str) -> Section | None:
    """What the ensemble, and one int8 model, cost over the full-precision member, beside the paper's claim."""
    if data is None:
        return None
    turned = any(row.images == TURNED for row in data.cpu)
    layers = f" ({BY_LAYERS[recipe]})" if recipe in BY_LAYERS else ""
    sentences = [f"{data.claim}."]
    if data.stored_over_fp32 is not None:
        sentences.append(f"Here the files of all members take {_more(data.stored_over_fp32)} bytes{layers}.")
    if data.bit_operations_over_fp32 is not None:
        more = _more(data.bit_operations_over_fp32)
        sentences.append(f"Multiply-accumulates, each times the bits of weight and activation: {more}.")
    sentences.append(
        "No int8 member, and none was made of the full-precision one to compare with."
        if data.int8 is None
        else f"One int8 model alone: {data.int8}."
    )
    body = join(
        element("ul", *(element("li", each) for each in sentences), class_="findings"),
        _ways(data),
        folded("Each member", _members(data)),
        *([folded("Layers that could be written otherwise", _layers(data))] if data.layers else []),
        note(
            "Brackets: over the full-precision member. CPU time of all threads for an image, one at a time: median of "
            "the rounds, and their range; at export one thread, the shortest.",
            f" Under attack: {data.attack}." if data.attack else None,
            f" {TURNED.capitalize()}: only images whose verdict fell; of such a quorum asks more." if turned else None,
        ),
    )
    return Section("overhead", "Overhead", body)


def _more(over: float) -> str:
    return f"{abs(over):.1%} {'more' if over >= 0 else 'fewer'}"


def _ways(data: OverheadReport) -> Element:
    alone = next((row for row in data.cpu if row.what == "fp32 alone"), None)
    stored, operations = (alone.stored_bytes, alone.bit_operations) if alone else (None, None)
    rows: list[list[Content]] = [
        ["the paper's claim", element("b", "below 1.25 ×"), *["below 1.25 ×"] * 2, "–", "–", "–"]
    ]
    rows += [
        [
            _named(row.what, row.images),
            element("b", f"{row.over_fp32:.2f} ×"),
            _beside(row.stored_bytes, stored, bytes_text),
            _beside(row.bit_operations, operations, "{:,}".format),
            f"{row.median_us:,.1f}",
            f"{row.lowest_us:,.1f} to {row.highest_us:,.1f}",
            f"{row.n} × {row.rounds}",
        ]
        for row in data.cpu
    ]
    heads = columns("Way and images", "Over fp32|Stored|MACs × bits|µs an image|Range|n × rounds")
    return table("Cost of each way of answering", heads, rows)


def _beside(value: int | None, alone: int | None, text: Callable[[int], str]) -> str:
    """A cost, and how many times the full-precision member's it is."""
    if value is None:
        return "–"
    return f"{text(value)} ({value / alone:.2f} ×)" if alone else text(value)


def _layers(data: OverheadReport) -> Element:
    rows: list[list[Content]] = [
        [row.member, row.layer, way, f"{row.exported_us:,.1f}", f"{us:,.1f}", f"{row.exported_us / us:.2f} ×"]
        for row in data.layers
        for way, us in row.others_us.items()
    ]
    heads = columns("Member|Layer|Otherwise", "µs as exported|µs otherwise|Ratio")
    label = "Layers that could be written otherwise"
    told = (
        f"Of the whole member, {data.layers_hardware}, one thread, one image, at export. All ways give the same sums."
    )
    return join(table(label, heads, rows), note(told))


def _members(data: OverheadReport) -> Element:
    rows: list[list[Content]] = [
        [
            row.name,
            row.precision,
            bytes_text(row.file_bytes),
            f"{row.macs:,}",
            "–" if row.bit_operations is None else f"{row.bit_operations:,}",
        ]
        for row in data.members
    ]
    return table("Cost of each member", columns("Member|Precision", "Stored|MACs|MACs × bits"), rows)
