"""What benchmarks share: the bundle, the test images, the samples."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from export.data.examples import Examples
from export.training.recipes import RECIPES
from runtime.bundle import Bundle, load_bundle

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Context:
    """Read on first use: not every benchmark needs the data set."""

    data_dir: Path | None
    bundle_dir: Path = ROOT / "bundles" / "mnist-empir"

    def of(self, bundle: str) -> "Context":
        """The same for another of the ready-made bundles."""
        return Context(self.data_dir, ROOT / "bundles" / bundle)

    @cached_property
    def bundle(self) -> Bundle:
        return load_bundle(self.bundle_dir, gradients=True)

    @cached_property
    def test(self) -> Examples:
        return RECIPES[self.bundle.manifest.provenance.recipe].data(self.data_dir).test

    @cached_property
    def samples(self) -> list[bytes]:
        """The encoded sample images, in order."""
        return [path.read_bytes() for path in sorted((ROOT / "samples").glob("*.png"))]
