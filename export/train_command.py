"""What `empir train` and the proof of `empir check` do, once their packages are loaded."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from export.bundle_folder import portable, refuse_to_overwrite, refuse_unwritable
from export.data.examples import left_out
from export.graphs.parity import Parity, all_parities
from export.graphs.restore import restore
from export.own_images_cli import Request, request_of, train_own_images
from export.training.made_by import recipe_that_made
from export.training.recipe import Recipe
from export.training.recipes import RECIPES
from export.training_run import checkpoints, summary, train_bundle
from runtime.cli import open_bundle
from runtime.errors import EmpirError, InvalidValue
from runtime.gradients import load_gradients
from runtime.manifest import Manifest
from runtime.member import Member


def train(
    recipe: str | None,
    out: Path | None,
    data_dir: Path | None,
    threads: int | None,
    own: dict[str, Any],
    *,
    force: bool,
    show_list: bool,
    as_json: bool,
) -> None:
    """Train RECIPE, or on the images of `own`, the options of `own_options`, and show what came of it.

    Raises click.UsageError and click.ClickException.
    """
    console = Console(stderr=as_json)
    request, skip = _wanted(recipe, own)
    if show_list or (request is None and recipe is None):
        _list(console, as_json)
        return
    out = out or (request.out if request is not None else Path("bundles") / str(recipe))
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        refuse_to_overwrite(out, force)
        refuse_unwritable(checkpoints(out))
        if request is not None:
            manifest = train_own_images(request, out, console)
        else:
            manifest = _train(RECIPES[str(recipe)], out, data_dir, console, skip_unreadable=skip)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        saved = checkpoints(out)
        kept = f"finished epochs are in {saved}. The same command goes on from there"
        console.print(f"\nInterrupted: {kept if any(saved.glob('*.pt')) else 'no epoch was finished'}.", soft_wrap=True)
        sys.exit(130)
    if as_json:
        click.echo(manifest.model_dump_json())


def check(bundle: str, bundles: Path, data_dir: Path | None, *, as_json: bool) -> None:
    """Prove the bundle again, and show the proof. Raises click.ClickException where it fails."""
    console = Console(stderr=as_json)
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        manifest = opened.manifest
        recipe = recipe_that_made(manifest)
        networks = [restore(recipe, opened, member) for member in manifest.members]
        data = recipe.load(data_dir, skip_unreadable=manifest.provenance.skipped_images > 0)
        members = [Member(opened, entry) for entry in manifest.members]
        with console.status(f"Comparing with PyTorch on {len(data.test):,} test images"):
            parities = all_parities(networks, members, load_gradients(opened), data.test)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_proof(manifest, parities)))
    else:
        console.print(summary(manifest, parities, f"{bundle} agrees with PyTorch"))


def _proof(manifest: Manifest, parities: Sequence[Parity]) -> dict[str, Any]:
    """The proof for machines; errors are relative to the largest value of PyTorch's answer."""
    return {
        "bundle": {"name": manifest.name, "version": manifest.version},
        "agrees": True,
        "clean_accuracy": manifest.clean_accuracy,
        "members": [
            {
                "name": member.name,
                "precision": member.precision.model_dump(),
                "clean_accuracy": member.clean_accuracy,
                "packed_bytes": member.packed_bytes,
                **{key: value for key, value in asdict(parity).items() if key != "member"},
            }
            for member, parity in zip(manifest.members, parities, strict=True)
        ],
    }


def _wanted(recipe: str | None, own: dict[str, Any]) -> tuple[Request | None, bool]:
    """What is asked for with somebody's own images, if anything is; whether a recipe's unreadable ones are left out.

    Raises click.UsageError.
    """
    of_recipe = recipe in RECIPES and own["images"] is None
    request = request_of({**own, "skip_unreadable": None} if of_recipe else own)
    if request is not None and recipe is not None:
        raise click.UsageError(f"expected a recipe or --images, got both: {recipe}, {request.images}")
    if recipe is not None and recipe not in RECIPES:
        raise click.UsageError(f"recipe: expected one of {', '.join(RECIPES)}, got {recipe}")
    return request, of_recipe and bool(own["skip_unreadable"])


def _list(console: Console, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_recipe_document(each) for each in RECIPES.values()]))
    else:
        console.print(_recipe_table())


def _train(recipe: Recipe, out: Path, data_dir: Path | None, console: Console, *, skip_unreadable: bool) -> Manifest:
    if skip_unreadable and recipe.skipping is None:
        raise InvalidValue(f"--skip-unreadable: the data of {recipe.name} are whole files with checksums; leave it out")
    data = recipe.load(data_dir, skip_unreadable=skip_unreadable)
    if data.skipped:
        console.print(left_out(data.unreadable), soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"{data.name}: {len(data.train):,} training, {len(data.validation):,} validation, "
        f"{len(data.test):,} test images"
    )
    option = " --skip-unreadable" if skip_unreadable else ""
    command = f"empir train {recipe.name}{option} --out {shlex.quote(portable(out))}"
    manifest = train_bundle(recipe, data, out, command, console)
    console.print(f"Serve it:  empir serve --bundles {out.parent} --default {out.name}")
    return manifest


def _recipe_document(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "members": [member.precision for member in recipe.members],
        "description": recipe.description,
        "cost": recipe.cost,
        "accuracy": recipe.expected,
    }


def _recipe_table() -> Table:
    table = Table.grid("", "", padding=(0, 2))
    for recipe in RECIPES.values():
        members = ", ".join(member.precision for member in recipe.members)
        table.add_row(Text(recipe.name, "bold"), members)
        table.add_row("", Text(recipe.description, "dim"))
        table.add_row("", f"cost: {recipe.cost}")
        table.add_row("", f"accuracy: {recipe.expected}")
    return table
