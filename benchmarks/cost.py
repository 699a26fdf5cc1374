"""What an ensemble costs, in CPU time, over its full-precision member alone."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.context import Context
from benchmarks.figure import Figure, spread
from benchmarks.untrained import write_untrained
from export.data.examples import as_pixels
from export.data.imagenet_labels import imagenet_labels
from export.training.recipes import IMAGENET_EMPIR, IMAGENETTE_EMPIR
from runtime.bundle import Bundle, load_bundle
from runtime.ensemble import Ensemble
from runtime.prediction import Mode

Images = NDArray[np.float32]
ROUNDS = 9
READY_MADE = {"MNISTconv": ("mnist-empir", 1000), "CIFARconv": ("cifar10-empir", 300)}
"""The bundle of each network, and how many clean test images a round takes."""
ALEXNET, ALEXNET_IMAGES = "AlexNet, untrained", 6
TRAINED, TRAINED_IMAGES = "AlexNet, trained on Imagenette", 60
MOST: dict[str, dict[Mode, float]] = {
    "MNISTconv": {"full": 1.95, "quorum": 0.92},
    "CIFARconv": {"full": 2.2, "quorum": 1.0},
    ALEXNET: {"full": 1.65, "quorum": 0.65},
    TRAINED: {"full": 1.65, "quorum": 0.65},
}


def cost(context: Context) -> list[Figure]:
    """The paper's three ensembles, one image at a time, in-process; all sides in turn in every round. The
    full-precision side is its bare session.

    AlexNets are too large to be shipped: they are measured untrained, and, where `empir train imagenette-empir` has
    left them in bundles/, as they were trained.
    """
    return [figure for name, bundle, images in _subjects(context) for figure in _of(name, bundle, images)]


def _subjects(context: Context) -> Iterator[tuple[str, Bundle, Images]]:
    for name, (bundle, count) in READY_MADE.items():
        of = context.of(bundle)
        yield name, of.bundle, of.test.pixels(0, count)
    with tempfile.TemporaryDirectory() as folder:
        out, spec = Path(folder) / "alexnet", IMAGENET_EMPIR.input
        write_untrained(IMAGENET_EMPIR, tuple(imagenet_labels().values()), out)
        shape = (ALEXNET_IMAGES, spec.channels, spec.height, spec.width)
        yield ALEXNET, load_bundle(out), np.random.default_rng(0).random(shape, dtype=np.float32)
    trained = context.of(IMAGENETTE_EMPIR.name)
    if trained.bundle_dir.exists():
        some = np.linspace(0, len(trained.test) - 1, TRAINED_IMAGES).astype(np.int64)  # they are sorted by class
        yield TRAINED, trained.bundle, as_pixels(trained.test.batch(some))


def _of(name: str, bundle: Bundle, images: Images) -> Iterator[Figure]:
    ensemble = Ensemble.of_bundle(bundle, concurrency="requests")  # threads of their own would cost more CPU time
    at, fp32 = next((at, member) for at, member in enumerate(ensemble.members) if member.precision.is_float)
    modes = list(MOST[name])
    voted: dict[Mode, list[float]] = {mode: [] for mode in modes}
    alone = []
    for _ in range(ROUNDS):
        alone.append(_cpu_us(fp32.answer, images))
        for mode in modes:
            voted[mode].append(_cpu_us(partial(ensemble.predict, mode=mode), images))
    skipped = np.mean([status == "skipped" for status in ensemble.predict(images, "quorum").status[at]])
    ensemble.close()
    for mode in modes:
        ratios = [ours / one for ours, one in zip(voted[mode], alone, strict=True)]
        text = f"{spread(ratios)}; {np.median(voted[mode]):,.0f} us over {np.median(alone):,.0f} us an image"
        most = MOST[name][mode]
        text += f"; {skipped:.0%} of them decided without it" if mode == "quorum" else ""
        yield Figure(f"{mode} over fp32 alone, {name}", f"at most {most}", text, float(np.median(ratios)) <= most)


def _cpu_us(run: Callable[[Images], object], images: Images) -> float:
    """Microseconds of this process an image, each by itself."""
    start = time.process_time_ns()
    for image in images[:, None]:
        run(image)
    return (time.process_time_ns() - start) / 1000 / len(images)
