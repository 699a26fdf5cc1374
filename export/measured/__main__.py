"""`python -m export.measured BUNDLE`: measure a bundle's layers on this machine, and note it in its manifest."""

from pathlib import Path

import click

from export.bundle_folder import write_manifest
from export.graphs.restore import restore
from export.measured.measure import measured
from export.training.made_by import recipe_that_made
from runtime.cli import bundles_option, open_bundle
from runtime.errors import EmpirError


@click.command()
@click.argument("bundle")
@bundles_option
def main(bundle: str, bundles: Path) -> None:
    """Measure the layers of BUNDLE on this machine, each in the ways to write it, and note it in its manifest.

    Its version stays what it is, and so does its report, which takes the figures up when the bundle is evaluated again.

    \b
    Examples:
      python -m export.measured mnist-empir
    """
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        manifest = opened.manifest
        recipe = recipe_that_made(manifest)
        found = measured([restore(recipe, opened, member) for member in manifest.members], opened)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    write_manifest(opened.folder, manifest.model_copy(update={"measured": found}))
    click.echo(found.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
