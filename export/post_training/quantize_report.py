"""What `empir quantize` says: its assumptions before, and what quantization did after."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from export.post_training.calibration import Photos
from export.post_training.classifier import Classifier
from export.post_training.quantized_bundle import Figures, MemberGraph
from runtime.manifest import Input, Manifest


def assumptions(classifier: Classifier, spec: Input, labels: str | None, photos: Photos, others: Photos) -> str:
    """What is taken for granted about a model, and which options say otherwise."""
    channels, height, width = classifier.shape
    low, high = spec.value_range
    mean, std = (", ".join(f"{value:g}" for value in values or ()) for values in (spec.mean, spec.std))
    lines = [
        f"{classifier.classes:,} classes of {channels} x {height} x {width}, labels "
        + (labels or "assumed: class 0, class 1, ... (--labels)"),
        f"It is given pixels of {low:g} to {high:g}, less mean {mean}, over std {std}; "
        f"pictures of another size: {spec.resize}",
        f"{len(photos):,} pictures to calibrate with, {len(others):,} others for the figures"
        + ("" if others.labelled else f"; agreement, but no accuracy: {others.unknown}"),
        *(f"{change[0].upper()}{change[1:]}." for change in classifier.changes),
    ]
    return "\n".join(lines)


def summary(manifest: Manifest, members: Sequence[MemberGraph], figures: Figures, title: str) -> Table:
    """The table of what quantization did; the original, before, is what agreement is measured against."""
    table = Table(
        "member", "precision", "file", "integer layers", "accuracy", "agrees with the original", box=box.SIMPLE
    )
    table.title = f"{title} (version {manifest.version}), {figures.images:,} pictures"
    names = [member.name for member in manifest.members]
    accuracies = figures.accuracy or (None,) * (len(names) + 1)
    if figures.original is not None:
        table.add_row("the original", "float", "", "", _percent(figures.original), "")
    for index, entry in enumerate(manifest.members):
        table.add_row(
            entry.name,
            str(entry.precision),
            f"{entry.packed_bytes / 1e6:.2f} MB",
            f"{members[index].integer} of {members[index].layers}",
            _percent(accuracies[index]),
            _percent(figures.agreement[index]),
        )
    table.add_row("ensemble", manifest.vote.rule, "", "", _percent(accuracies[-1]), _percent(figures.agreement[-1]))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
