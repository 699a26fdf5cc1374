"""The recipe that a bundle was made by."""

from export.training.own_images import recipe_of
from export.training.recipe import Recipe
from export.training.recipes import RECIPES
from runtime.errors import BundleError
from runtime.manifest import Manifest


def recipe_that_made(manifest: Manifest) -> Recipe:
    """The recipe of the bundle with this manifest. Raises BundleError if there is none of that name."""
    name = manifest.provenance.recipe
    recipe = RECIPES.get(name) or recipe_of(manifest)
    if recipe is None:
        raise BundleError(f"{manifest.name}: made by the recipe {name!r}, which does not exist here")
    return recipe
