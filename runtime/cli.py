"""Command lines over a bundle, without a server: `empir predict`, `empir bundles`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import orjson
from rich.columns import Columns
from rich.console import Console, Group
from rich.text import Text

from runtime.answer import answer, milliseconds
from runtime.bundle import DEFAULT_BUNDLE, MAKE, MANIFEST, Bundle, bundle_folders, load_bundle
from runtime.detection import suspicious
from runtime.ensemble import Ensemble
from runtime.errors import BundleError, EmpirError, ImageError, ImageTooLarge, InvalidValue
from runtime.images import Pixels, decode_image
from runtime.manifest import Input, Manifest
from runtime.prediction import Mode
from runtime.terminal import has_colour, members_table, percent, picture

Command = Callable[..., Any]

bundles_option = click.option(
    "--bundles",
    envvar="EMPIR_BUNDLES",
    default="bundles",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder with the bundles.",
)
"""The folder of bundles; the same variable as the server's."""

data_dir_option = click.option(
    "--data-dir",
    envvar="EMPIR_DATA_DIR",
    type=click.Path(path_type=Path),
    help="Where data sets are, or go; for a bundle trained on a folder of images, that folder. [user's cache]",
)
"""The folder of data sets, for commands that need what a bundle was made of."""


def bundle_options(command: Command) -> Command:
    """The options that choose a bundle; the same variables as the server's."""
    name = click.option("--bundle", envvar="EMPIR_DEFAULT", default=DEFAULT_BUNDLE, show_default=True, help="Its name.")
    chosen: Command = bundles_option(name(command))
    return chosen


def open_bundle(bundles: Path, name: str, *, gradients: bool = False) -> Bundle:
    """The verified bundle `name` of a folder. Raises BundleError, naming those that are there."""
    if not bundles.is_dir():
        raise BundleError(f"{bundles}: expected a folder of bundles (--bundles), there is none; {MAKE}")
    if not (bundles / name / MANIFEST).exists():
        there = ", ".join(path.name for path in bundle_folders(bundles)) or "none"
        raise BundleError(f"bundle: expected one that is in {bundles} ({there}), got {name!r}")
    return load_bundle(bundles / name, gradients=gradients)


def read_image(path: Path, spec: Input) -> Pixels:
    """The image in a file, float32 [1, C, H, W]. Raises ImageError, naming the file, if there is none in it."""
    try:
        return decode_image(path.read_bytes(), spec)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ImageError, ImageTooLarge, InvalidValue) as error:
        raise ImageError(f"{path}: {str(error).removeprefix('image: ')}") from error


@click.group()
def main() -> None:
    """Use bundles, without a server."""


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@bundle_options
@click.option("--mode", type=click.Choice(get_args(Mode)), default="full", show_default=True, help="How the vote runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document an image, as POST /predict answers.")
def predict(images: tuple[Path, ...], bundle: str, bundles: Path, mode: Mode, as_json: bool) -> None:
    """Classify IMAGES: the voted label, and each member's vote, confidence and time.

    \b
    Examples:
      empir predict samples/7.png
      empir predict --mode quorum --json samples/*.png
    """
    console = Console()
    try:
        opened = open_bundle(bundles, bundle)
        ensemble = Ensemble.of_bundle(opened)
        spec = opened.manifest.input
        for path in images:
            pixels = read_image(path, spec)
            prediction = ensemble.predict(pixels, mode)
            document = answer(opened.manifest, prediction, mode, suspicious=suspicious(opened.manifest, prediction))
            document["latency_ms"] = {
                "inference": milliseconds(prediction.inference_seconds),
                "vote": milliseconds(prediction.vote_seconds),
            }
            if as_json:
                click.echo(orjson.dumps({"image": str(path), **document}))
            else:
                console.print(_shown(path, pixels, document, has_colour(console)))
    except EmpirError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@bundles_option
@click.option("--json", "as_json", is_flag=True, help="The manifests, for machines.")
def bundles(bundles: Path, as_json: bool) -> None:
    """List the bundles of a folder; every checksum is verified. Exits with 1 if one of them is damaged.

    \b
    Examples:
      empir bundles
      empir bundles --bundles /srv/bundles --json
    """
    found = {folder.name: _opened(folder) for folder in bundle_folders(bundles)}
    if not found:
        missing = f"{bundles}: expected bundles, folders with a {MANIFEST}; there is none in it; {MAKE}"
        raise click.ClickException(missing)
    if as_json:
        whole = [each.model_dump(mode="json") for each in found.values() if isinstance(each, Manifest)]
        click.echo(orjson.dumps(whole))
    else:
        console = Console()
        for name, each in found.items():
            lines = _listed(each) if isinstance(each, Manifest) else _damaged(name, each)
            console.print(*lines, sep="\n", soft_wrap=True)
    damaged = {name: each for name, each in found.items() if isinstance(each, BundleError)}
    if damaged:
        said = "; ".join(str(each) if as_json else name for name, each in damaged.items())
        raise click.ClickException(f"{len(damaged)} of {len(found)} bundles damaged: {said}")


def _opened(folder: Path) -> Manifest | BundleError:
    """The manifest of a bundle, every file of which was checked, or what is wrong with it."""
    try:
        return load_bundle(folder).manifest
    except BundleError as error:
        return error


def _damaged(name: str, error: BundleError) -> tuple[Text, ...]:
    return Text.assemble((name, "bold"), ("  damaged", "bold red")), Text(f"  {error}", "red")


def _listed(manifest: Manifest) -> tuple[Text, ...]:
    """A bundle's name and version, what it consists of, and what it is."""
    members = ", ".join(
        member.name if member.name.startswith(str(member.precision)) else f"{member.name} ({member.precision})"
        for member in manifest.members
    )
    clean = [] if manifest.clean_accuracy is None else [f"{manifest.clean_accuracy:.2%} clean"]
    facts = [members, f"{manifest.vote.rule} vote", f"{len(manifest.labels)} classes", *clean]
    lines = [Text.assemble((manifest.name, "bold"), f"  {manifest.version}"), Text(f"  {' · '.join(facts)}")]
    return (*lines, Text(f"  {manifest.description}", "dim")) if manifest.description else tuple(lines)


def _shown(path: Path, pixels: Any, document: dict[str, Any], colour: bool) -> Columns:
    head = Text.assemble((document["label"], "bold green"), f"   {path.name}", style="")
    share = Text(
        f"{percent(document['confidence'])} confident, {document['agreement']:.0%} of the members agree", "dim"
    )
    if document["degraded"]:
        share = Text("degraded: a member that was asked has no vote", "red")
    lines = [head, share]
    if document["suspicious"]:
        lines.append(Text("suspicious: the members differ as they rarely do on clean images", "yellow"))
    return Columns([picture(pixels[0], colour=colour), Group(*lines, Text(), members_table(document))], padding=(0, 3))
