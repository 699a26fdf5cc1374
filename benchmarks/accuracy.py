"""Clean accuracy through the served graphs, agreement with PyTorch, and the size of the members."""

from benchmarks.context import Context
from benchmarks.figure import Figure
from export.graphs.parity import all_parities
from export.graphs.restore import restore
from export.training.recipes import RECIPES
from runtime.ensemble import Ensemble
from runtime.gradients import load_gradients
from runtime.prediction import Mode

SMALLEST_ACCURACY = 0.988
LARGEST_BYTES = 250_000


def accuracy(context: Context) -> list[Figure]:
    """All 10,000 test images, both modes."""
    ensemble = Ensemble.of_bundle(context.bundle)
    figures = []
    modes: tuple[Mode, ...] = ("full", "quorum")
    for mode in modes:
        right = 0
        for start in range(0, len(context.test), 250):
            verdict = ensemble.predict(context.test.pixels(start, start + 250), mode).verdict
            right += int((verdict == context.test.classes[start : start + 250]).sum())
        share = right / len(context.test)
        text = f"{share:.2%} (n = {len(context.test):,})"
        figures.append(Figure(f"clean accuracy, {mode}", "at least 98.8%", text, share >= SMALLEST_ACCURACY))
    return figures


def agreement(context: Context) -> list[Figure]:
    """The parity gate, run again on networks restored from the bundle."""
    bundle = context.bundle
    recipe = RECIPES[bundle.manifest.provenance.recipe]
    networks = [restore(recipe, bundle, member) for member in bundle.manifest.members]
    parities = all_parities(networks, Ensemble.of_bundle(bundle).members, load_gradients(bundle), context.test)
    logits, gradients = max(p.logits_error for p in parities), max(p.gradient_error for p in parities)
    text = f"100% of {parities[0].images:,} images; logits ± {logits:.0e}, gradients ± {gradients:.0e}"
    return [Figure("torch and served members agree", "100% of images", text, True)]


def size(context: Context) -> list[Figure]:
    """The largest file of a low-precision member."""
    largest = max(m.packed_bytes for m in context.bundle.manifest.members if not m.precision.is_float)
    return [Figure("file of a w2a4 member", "at most 250 KB", f"{largest / 1000:.0f} KB", largest <= LARGEST_BYTES)]
