"""Command lines of export: `empir train`, and the proof of `empir check`; their help needs no package of the extra."""

from pathlib import Path
from typing import Any

import click

from export.own_images_options import own_options
from runtime.bundle import DEFAULT_BUNDLE
from runtime.cli import bundles_option, data_dir_option
from runtime.late_imports import import_late


@click.group()
def main() -> None:
    """Train ensembles and write bundles."""


@main.command()
@click.argument("recipe", required=False, metavar="[RECIPE]")
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
@click.option("--json", "as_json", is_flag=True, help="The manifest, for machines; all else goes to standard error.")
@own_options
def train(
    recipe: str | None,
    out: Path | None,
    data_dir: Path | None,
    threads: int | None,
    force: bool,
    show_list: bool,
    as_json: bool,
    **own: Any,
) -> None:
    """Train the ensemble of RECIPE, or one for your own --images, and write it as a bundle.

    Every epoch is saved beside --out, in NAME.training: after an interruption the same command goes on from there.
    Of your own images a fifth is held out to test on, an eighth of the rest to choose by; --size to --eps go with
    --images, --skip-unreadable also with a RECIPE whose data are a folder of images.

    \b
    Examples:
      empir train --list
      empir train mnist-empir --out bundles/mnist-empir
      empir train --images photos --out bundles/photos
      empir train --images photos --out bundles/photos-robust --robust --minutes 20
    """
    import_late("export.train_command", "train").train(
        recipe, out, data_dir, threads, own, force=force, show_list=show_list, as_json=as_json
    )


@main.command()
@click.argument("bundle", default=DEFAULT_BUNDLE)
@bundles_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="What was compared and found, for machines.")
def check(bundle: str, bundles: Path, data_dir: Path | None, as_json: bool) -> None:
    """Prove BUNDLE again: its checksums, and that PyTorch agrees with its graphs.

    PyTorch, with the bundle's weights, must give every test image the class that the served graph gives, the same
    logits, and the gradients of the gradient graph.

    \b
    Examples:
      empir check mnist
    """
    import_late("export.train_command", "check").check(bundle, bundles, data_dir, as_json=as_json)
