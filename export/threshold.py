"""Command line of the detection threshold: `empir threshold`."""

from pathlib import Path
from typing import get_args

import click
from rich.console import Console

from export.detection import add_detection
from export.score_choice import LEAST_TURNED
from export.training.made_by import recipe_that_made
from runtime.bundle import DEFAULT_BUNDLE
from runtime.cli import bundles_option, data_dir_option, open_bundle
from runtime.errors import EmpirError
from runtime.manifest import ScoreChoice, ScoreName


@click.group()
def main() -> None:
    """Choose when an image is suspicious."""


@main.command()
@click.argument("bundle", default=DEFAULT_BUNDLE)
@bundles_option
@click.option(
    "--score",
    type=click.Choice(get_args(ScoreName)),
    help="How far the members are apart. [what sees an attack on the full-precision member alone best]",
)
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="The manifest's detection, for machines.")
def threshold(bundle: str, bundles: Path, score: ScoreName | None, data_dir: Path | None, as_json: bool) -> None:
    """Choose the score above which an image is suspicious, and write it into BUNDLE's manifest.

    At most 5% of the clean validation images are above it. Without --score the full-precision member is attacked on
    validation images, and the score is taken that tells those it turned best from clean ones. Nothing else of the
    bundle changes, not its version either: no vote and no verdict depends on it. A server that is running has to be
    started again to know it.

    \b
    Examples:
      empir threshold mnist
      empir threshold mnist --score disagreement
    """
    console = Console(stderr=as_json)
    try:
        manifest = open_bundle(bundles, bundle).manifest
        recipe = recipe_that_made(manifest)
        data = recipe.load(data_dir, skip_unreadable=manifest.provenance.skipped_images > 0)
        with console.status(f"Asking {bundle} for validation images of {data.name}"):
            chosen = add_detection(bundles / bundle, data.validation, score).detection
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    if chosen is not None and as_json:
        click.echo(chosen.model_dump_json())
    elif chosen is not None:
        console.print(
            f"{bundle}: suspicious above {chosen.score} {chosen.threshold:.4g}, "
            f"which {chosen.false_alarms:.2%} of {chosen.images:,} clean validation images are",
            soft_wrap=True,
        )
        if chosen.chosen is not None:
            console.print(_measured(chosen.chosen), soft_wrap=True)


def _measured(choice: ScoreChoice) -> str:
    """What the score was chosen by."""
    turned = f"turned {choice.turned} of {choice.attacked} validation images"
    head = f"PGD on {choice.member} alone, L∞ {choice.eps:.4g}, {turned}"
    if choice.turned < LEAST_TURNED:
        return f"{head}: too few to choose a score by, so it is the usual one"
    areas = sorted(choice.auroc.items(), key=lambda each: -each[1])
    return f"{head}; area under the curve: {', '.join(f'{name} {area:.3f}' for name, area in areas)}"
