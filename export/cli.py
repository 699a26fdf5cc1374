"""Command line of export: `empir train`."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from export.bundle import write_bundle
from export.bundle_folder import refuse_to_overwrite
from export.data.examples import DataSet
from export.graphs.parity import Parity, all_parities
from export.graphs.restore import restore
from export.training import train as training
from export.training.recipes import RECIPES, Recipe
from runtime.cli import bundles_option, open_bundle
from runtime.errors import BundleError, EmpirError
from runtime.gradients import load_gradients
from runtime.manifest import Manifest
from runtime.member import Member


@click.group()
def main() -> None:
    """Train ensembles and write bundles."""


@main.command()
@click.argument("recipe", required=False, metavar="RECIPE")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the bundle; its name becomes the bundle's. [bundles/RECIPE]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="EMPIR_DATA_DIR",
    help="Where data sets are, or go. [user's cache]",
)
@click.option("--threads", type=click.IntRange(1), help="Threads to train with. [all cores]")
@click.option("--force", is_flag=True, help="Replace a bundle that is at --out already.")
@click.option("--list", "show_list", is_flag=True, help="Show the recipes and leave.")
def train(
    recipe: str | None, out: Path | None, data_dir: Path | None, threads: int | None, force: bool, show_list: bool
) -> None:
    """Train the ensemble of RECIPE and write it as a bundle.

    Every epoch is saved beside --out, in NAME.training: after an interruption the same command goes on from there.

    \b
    Examples:
      empir train --list
      empir train mnist-empir --out bundles/mnist-empir
    """
    console = Console()
    if show_list or recipe is None:
        console.print(_recipe_table())
        return
    if recipe not in RECIPES:
        raise click.UsageError(f"recipe: expected one of {', '.join(RECIPES)}, got {recipe}")
    out = out or Path("bundles") / recipe
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        refuse_to_overwrite(out, force)
        _train(RECIPES[recipe], out, data_dir, console)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        saved = _checkpoints(out)
        kept = f"finished epochs are in {saved}. The same command goes on from there"
        console.print(f"\nInterrupted: {kept if saved.exists() else 'no epoch was finished'}.", soft_wrap=True)
        sys.exit(130)


@main.command()
@click.argument("bundle", default="mnist-empir")
@bundles_option
@click.option(
    "--data-dir", type=click.Path(path_type=Path), envvar="EMPIR_DATA_DIR", help="Where data sets are, or go."
)
def check(bundle: str, bundles: Path, data_dir: Path | None) -> None:
    """Prove BUNDLE again: its checksums, and that PyTorch agrees with its graphs.

    PyTorch, with the bundle's weights, must give every test image the class that the served graph gives, the same
    logits, and the gradients of the gradient graph.

    \b
    Examples:
      empir check mnist-empir
    """
    console = Console()
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        manifest = opened.manifest
        if manifest.provenance.recipe not in RECIPES:
            raise BundleError(f"{bundle}: made by the recipe {manifest.provenance.recipe!r}, which does not exist here")
        recipe = RECIPES[manifest.provenance.recipe]
        networks = [restore(recipe, opened, member) for member in manifest.members]
        data = recipe.data(data_dir)
        members = [Member(opened, entry) for entry in manifest.members]
        with console.status(f"Comparing with PyTorch on {len(data.test):,} test images"):
            parities = all_parities(networks, members, load_gradients(opened), data.test)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    console.print(_summary(manifest, parities, f"{bundle} agrees with PyTorch"))


def _checkpoints(out: Path) -> Path:
    return out.with_name(f"{out.name}.training")


def _train(recipe: Recipe, out: Path, data_dir: Path | None, console: Console) -> None:
    data = recipe.data(data_dir)
    console.print(
        f"{data.name}: {len(data.train):,} training, {len(data.validation):,} validation, "
        f"{len(data.test):,} test images"
    )
    trained = [_train_member(recipe, index, data, out, console) for index in range(len(recipe.members))]
    with console.status("Writing graphs, and comparing them with torch on every test image"):
        manifest, parities = write_bundle(
            recipe, trained, data, out, f"empir train {recipe.name} --out bundles/{out.name}"
        )
    shutil.rmtree(_checkpoints(out))
    console.print(_summary(manifest, parities, f"{out} (version {manifest.version})"))
    console.print(f"Serve it:  empir serve --bundles {out.parent} --default {out.name}")


def _train_member(recipe: Recipe, index: int, data: DataSet, out: Path, console: Console) -> training.Trained:
    member = recipe.members[index]
    checkpoint = _checkpoints(out) / f"{member.name}.pt"
    if checkpoint.exists():
        console.print(f"{member.name}: going on from {checkpoint}", soft_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{member.name} ({index + 1}/{len(recipe.members)})", now="")

        def report(progress: training.Progress) -> None:
            _show(bar, task, progress)
            if progress.accuracy is not None and not console.is_terminal:
                console.print(
                    f"{progress.member}, epoch {progress.epoch}/{progress.epochs}: loss {progress.loss:.4f}, "
                    f"validation {_validation(progress)}"
                )

        return training.train_member(recipe, member, data, checkpoint, report)


def _show(bar: Progress, task: TaskID, progress: training.Progress) -> None:
    done, total = (progress.epoch - 1) * progress.batches + progress.batch, progress.epochs * progress.batches
    now = f"epoch {progress.epoch}  loss {progress.loss:.3f}" + (
        "" if progress.accuracy is None else f"  validation {_validation(progress)}"
    )
    bar.update(task, description=progress.member, completed=done, total=total, now=now)


def _validation(progress: training.Progress) -> str:
    attacked = "" if progress.robust is None else f", attacked {progress.robust:.1%}"
    return f"{progress.accuracy:.2%}{attacked}"


def _summary(manifest: Manifest, parities: Sequence[Parity], title: str) -> Table:
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


def _recipe_table() -> Table:
    table = Table("recipe", "members", "what to expect", "description", title="Recipes of `empir train`")
    for recipe in RECIPES.values():
        table.add_row(
            recipe.name, ", ".join(member.precision for member in recipe.members), recipe.expected, recipe.description
        )
    return table
