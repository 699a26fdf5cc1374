"""A training as the command line runs it: member after member, with checkpoints beside the bundle, to its summary."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from export.bundle import write_bundle
from export.data.examples import DataError, DataSet
from export.graphs.parity import Parity
from export.training.display import Display
from export.training.recipe import Recipe
from export.training.train import train_member
from models.precision import Precision
from runtime.manifest import Manifest


def checkpoints(out: Path) -> Path:
    """The folder of the checkpoints of the bundle `out`."""
    return out.with_name(f"{out.name}.training")


def train_bundle(recipe: Recipe, data: DataSet, out: Path, command: str, console: Console) -> Manifest:
    """Train every member, or go on from its checkpoint; write the bundle, show it, and delete the checkpoints.

    Raises DataError, before anything is trained, if the data have more or fewer classes than the networks.
    """
    _refuse_other_classes(recipe, data)
    trained = []
    with Display(recipe, console) as display:
        for member in recipe.members:
            checkpoint = checkpoints(out) / f"{member.name}.pt"
            if checkpoint.exists():
                console.print(f"{member.name}: going on from {checkpoint}", soft_wrap=True)
            trained.append(train_member(recipe, member, data, checkpoint, display.step))
    with console.status("Writing graphs, and comparing them with torch on every test image"):
        manifest, parities = write_bundle(recipe, trained, data, out, command)
    shutil.rmtree(checkpoints(out))
    console.print(summary(manifest, parities, f"{out} (version {manifest.version})"))
    return manifest


def _refuse_other_classes(recipe: Recipe, data: DataSet) -> None:
    network = recipe.build(Precision.parse(recipe.members[0].precision)).eval()
    with torch.no_grad():
        outputs = network(torch.zeros(1, *data.image_shape)).shape[1]
    if outputs != len(data.labels):
        raise DataError(
            f"{data.name}: expected {outputs:,} classes, one for each logit of {recipe.name}, got {len(data.labels):,}"
        )


def summary(manifest: Manifest, parities: Sequence[Parity], title: str) -> Table:
    """Each member with its accuracy, its size, and how well PyTorch and its graphs agree."""
    table = Table("member", "", "accuracy", "file", "classes", "logits", "gradients", title=title, box=box.SIMPLE)
    for member, parity in zip(manifest.members, parities, strict=True):
        table.add_row(
            member.name,
            str(member.precision),
            f"{member.clean_accuracy:.2%}",
            f"{member.packed_bytes / 1000:.0f} kB",
            f"{parity.images:,} equal",
            f"± {parity.logits_error:.0e}",
            f"± {parity.gradient_error:.0e}" + (f", {parity.kinks} on a kink" if parity.kinks else ""),
        )
    table.add_row("ensemble", "", f"[bold]{manifest.clean_accuracy:.2%}[/]", "", "", "", "")
    return table
