"""Command line of training on images of one's own: `empir train --images`."""

import re
import shlex
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from export.bundle_folder import portable
from export.data.examples import DataSet, first_of, left_out
from export.data.own_folder import OwnImages
from export.own_images_options import MOST_EPOCHS, ROBUST_EPS
from export.training.budget import epochs_within, measured_pace
from export.training.own_images import Choices, fine_tuning_epochs, own_recipe, parse_members
from export.training.plan import planned_epochs
from export.training.recipe import Recipe
from export.training_run import checkpoints, train_bundle
from runtime.errors import InvalidValue
from runtime.manifest import Input, Manifest

PLAIN_EPS = "2/255"
"""To begin attacks with on members that were not trained against any."""
LARGEST_EPS = 0.5
SHOWN_CLASSES = 20
EVALUATED = 50


@dataclass(frozen=True)
class Request:
    """What `empir train --images` asks for."""

    images: Path
    size: int | None
    epochs: int | None
    minutes: float | None
    seed: int
    members: str
    robust: bool
    eps: str | None
    skip_unreadable: bool

    @property
    def out(self) -> Path:
        """bundles/NAME, by the name of the folder, where --out is not given."""
        name = re.sub(r"[^a-z0-9._-]+", "-", self.images.resolve().name.lower()).strip("-._")
        return Path("bundles") / (name or "images")

    @property
    def choices(self) -> Choices:
        """Raises InvalidValue."""
        if self.eps is not None and not self.robust:
            raise InvalidValue("--eps: goes with --robust, which trains against attacks of that size")
        if self.epochs is not None and self.minutes is not None:
            raise InvalidValue("expected --epochs or --minutes, got both")
        eps = parse_eps(self.eps or ROBUST_EPS) if self.robust else None
        return Choices(parse_members(self.members), self.seed, self.epochs, eps)


def request_of(given: dict[str, Any]) -> Request | None:
    """What `own_options` were given; None without --images. Raises click.UsageError for any of the others then."""
    if given["images"] is None:
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} goes with --images DIR")
        return None
    return Request(
        given["images"],
        given["size"],
        given["epochs"],
        given["minutes"],
        given["seed"] or 0,
        given["members"] or ",".join(Choices.members),
        bool(given["robust"]),
        given["eps"],
        bool(given["skip_unreadable"]),
    )


def parse_eps(text: str) -> float:
    """A number above 0 and up to 0.5, or a fraction like 4/255. Raises InvalidValue.

    >>> parse_eps("51/255")
    0.2
    """
    try:
        eps = float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidValue(f"--eps: expected a number, or a fraction like {ROBUST_EPS}, got {text!r}") from error
    if not 0 < eps <= LARGEST_EPS:
        raise InvalidValue(f"--eps: expected more than 0 and at most {LARGEST_EPS}, got {text}")
    return eps


def train_own_images(request: Request, out: Path, console: Console) -> Manifest:
    """From a folder of images to a bundle, with everything said that a newcomer needs. Raises EmpirError."""
    choices = request.choices
    images = OwnImages.survey(request.images)
    console.print(classes_table(images))
    if twice := images.in_two_classes():
        console.print(
            f"Warning: the same picture is in two classes, {len(twice):,} time{'s' * (len(twice) > 1)}, and can be "
            f"right in one only: {first_of(twice)}",
            style="yellow",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    spec = images.input(request.size)
    recipe = own_recipe(images, spec, choices, skip_unreadable=request.skip_unreadable)
    data = recipe.data(None)
    if data.skipped:
        console.print(left_out(data.unreadable), soft_wrap=True, highlight=False, markup=False)
    recipe = _planned(request, recipe, images, spec, data, out)
    console.print(_intention(recipe, request), soft_wrap=True, highlight=False)
    manifest = train_bundle(recipe, data, out, _command(request, recipe, out), console)
    console.print(comparison(manifest, data))
    console.print(_next(request, images, data, out), soft_wrap=True, highlight=False)
    return manifest


def classes_table(images: OwnImages) -> Table:
    """Every class with its images in each split; the first of them where there are many."""
    table = Table("class", box=box.SIMPLE, title=f"{images.folder}: {len(images.labels)} classes")
    for name in ("training", "validation", "test"):
        table.add_column(name, justify="right")
    counts = [images.counts(part) for part in (images.files.train, images.files.validation, images.files.test)]
    for label, *row in list(zip(images.labels, *counts, strict=True))[:SHOWN_CLASSES]:
        table.add_row(Text(label), *(f"{count:,}" for count in row))
    if len(images.labels) > SHOWN_CLASSES:
        table.add_row(f"and {len(images.labels) - SHOWN_CLASSES} more")
    table.add_section()
    table.add_row("in all", *(f"{sum(split):,}" for split in counts), style="bold")
    return table


def comparison(manifest: Manifest, data: DataSet) -> Table:
    """The ensemble on the test images, beside its full-precision member alone and the most frequent class."""
    counts = np.bincount(data.test.classes, minlength=len(manifest.labels))
    majority, images = float(counts.max() / counts.sum()), len(data.test)
    assert manifest.clean_accuracy is not None
    table = Table(
        f"{images:,} test images, not used in training",
        "right",
        box=box.SIMPLE,
        caption=f"Chance alone moves such figures by up to {0.98 / np.sqrt(images):.1%}.",
    )
    table.add_row("the ensemble", f"[bold]{manifest.clean_accuracy:.1%}[/]")
    for member in manifest.members:
        if member.name == manifest.vote.tie_breaker and len(manifest.members) > 1:
            table.add_row(f"its member {member.name} alone", f"{member.clean_accuracy:.1%}")
    table.add_row(Text(f'always "{manifest.labels[int(counts.argmax())]}"'), f"{majority:.1%}")
    if manifest.clean_accuracy <= majority:
        table.caption = "It has learned nothing: more images, or more --epochs, are needed."
    return table


def _planned(request: Request, recipe: Recipe, images: OwnImages, spec: Input, data: DataSet, out: Path) -> Recipe:
    """The recipe with the epochs that were asked for, or that fit into the minutes; the same after an interruption."""
    wanted = "default" if request.epochs is None else str(request.epochs)
    options = {
        "images": next(iter(data.md5.values())),
        "size": str(spec.height),
        "members": request.members,
        "seed": str(request.seed),
        "eps": str(request.choices.eps),
        "epochs": wanted if request.minutes is None else f"for {request.minutes:g} minutes",
    }

    def choose() -> int:
        if request.minutes is None:
            return recipe.training.epochs
        return epochs_within(request.minutes, measured_pace(recipe, data), fine_tuning_epochs, MOST_EPOCHS)

    epochs = planned_epochs(checkpoints(out), options, choose)
    chosen = replace(request.choices, epochs=epochs)
    return own_recipe(images, spec, chosen, skip_unreadable=request.skip_unreadable)


def _intention(recipe: Recipe, request: Request) -> str:
    spec, members = recipe.input, ", ".join(member.name for member in recipe.members)
    network = recipe.name.rpartition("-")[2]
    side = f"{spec.height} x {spec.width} pixels" + " in grey" * (spec.channels == 1)
    epochs = f"{recipe.training.epochs} epoch{'s' * (recipe.training.epochs > 1)}"
    against = "" if recipe.training.robust_eps is None else f", against attacks of {request.eps or ROBUST_EPS} (Linf)"
    return (
        f"Images of {side}, {network} networks: {members}; "
        f"{epochs} each{against}. Ctrl-C stops; the same command goes on."
    )


def _command(request: Request, recipe: Recipe, out: Path) -> str:
    """What makes this bundle again."""
    words = ["empir", "train", "--images", portable(request.images), "--out", portable(out)]
    words += ["--size", str(recipe.input.height), "--epochs", str(recipe.training.epochs), "--seed", str(request.seed)]
    words += ["--members", request.members]
    words += ["--robust", "--eps", request.eps or ROBUST_EPS] if request.robust else []
    return shlex.join(words + ["--skip-unreadable"] * request.skip_unreadable)


def _next(request: Request, images: OwnImages, data: DataSet, out: Path) -> str:
    test = images.files.test.without(set(data.unreadable))
    image = shlex.quote(test.paths(np.array([0]))[0])
    place = "" if out.parent == Path("bundles") else f" --bundles {shlex.quote(str(out.parent))}"
    eps = (request.eps or ROBUST_EPS) if request.robust else PLAIN_EPS
    folder, count = shlex.quote(str(images.folder)), min(EVALUATED, len(data.test))
    return "\n".join(
        (
            "Next:",
            f"  empir predict {image} --bundle {out.name}{place}",
            f"  empir probe {image} --bundle {out.name}{place} --eps {eps}",
            f"  empir evaluate {out.name}{place} --data-dir {folder} --eps {eps} --n {count}",
            f"  empir serve --default {out.name}{place}    (and a page to try it by hand, at http://127.0.0.1:8000)",
        )
    )
