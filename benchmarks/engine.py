"""`empir load engine`: what a bundle can do on this machine without HTTP, each member, `full` and `quorum`."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import orjson
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from export.training.recipes import RECIPES
from robustness.attacks.climb import Schedule, climb
from robustness.losses.goals import ANY_OTHER, as_asked
from robustness.losses.over_members import mean_probability
from robustness.parameters import default_eps
from robustness.victim import Victim
from runtime.cli import bundles_option, open_bundle
from runtime.ensemble import Ensemble
from runtime.errors import BundleError, EmpirError
from runtime.prediction import Mode

T = TypeVar("T")
Images = NDArray[np.float32]
Classes = NDArray[np.int64]
ATTACK_BATCH = 50
MODES: tuple[Mode, ...] = ("full", "quorum")


@dataclass(frozen=True)
class Limit:
    """One way of answering, one image at a time, over a set of images."""

    images: str
    what: str
    wall_us: float
    """Median time for an image."""
    cpu_us: float
    """Mean CPU time for an image, all threads."""
    accuracy: float
    """Against the true classes."""
    full_precision_asked: float
    """Share of the images for which the full-precision members ran."""
    disagreements: int
    """Images whose verdict differs from that of `full`."""


def limits(ensemble: Ensemble, images: Images, classes: Classes, name: str) -> list[Limit]:
    """Each member alone, then both modes, over `images` float32 [N, C, H, W] one at a time."""
    floats = [i for i, member in enumerate(ensemble.members) if member.precision.is_float]
    votes: list[tuple[str, float, float, Classes, float]] = []
    for member in ensemble.members:
        wall, cpu, answers = _measured(member.answer, images)
        classes_of = np.array([-1 if a.logits is None else int(a.logits.argmax()) for a in answers])
        votes.append((member.name, wall, cpu, classes_of, float(member.precision.is_float)))
    for mode in MODES:
        wall, cpu, predictions = _measured(partial(ensemble.predict, mode=mode), images)
        verdicts = np.array([int(prediction.verdict[0]) for prediction in predictions])
        asked = np.mean([any(p.status[i][0] != "skipped" for i in floats) for p in predictions])
        votes.append((mode, wall, cpu, verdicts, float(asked)))
    full = votes[-len(MODES)][3]
    return [
        Limit(name, what, wall, cpu, float((found == classes).mean()), asked, int((found != full).sum()))
        for what, wall, cpu, found, asked in votes
    ]


def attacked(victim: Victim, images: Images, classes: Classes, eps: float, seed: int = 0) -> Images:
    """Adversarial images: PGD-40 on the mean probability of all members (Linf); those that it does not break, clean."""
    schedule = Schedule("linf", eps, 40, 2.5 * eps / 40, random_start=True)
    loss, generator = mean_probability(victim.temperatures), np.random.default_rng(seed)
    result = images.copy()
    for start in range(0, len(images), ATTACK_BATCH):
        part = slice(start, start + ATTACK_BATCH)
        goals = as_asked(classes[part], np.full(len(classes[part]), ANY_OTHER))
        for found in climb(victim, images[part], goals, loss, schedule, generator).values():
            result[start + found.source] = found.image
    return result


def _measured(run: Callable[[Images], T], images: Images) -> tuple[float, float, list[T]]:
    """Median wall and mean CPU microseconds of `run` on each image [1, C, H, W], and what it gave."""
    walls, results, cpu = [], [], time.process_time()
    for image in images[:, None]:
        begun = time.perf_counter()
        results.append(run(image))
        walls.append(time.perf_counter() - begun)
    return 1e6 * float(np.median(walls)), 1e6 * (time.process_time() - cpu) / len(images), results


@click.group()
def main() -> None:
    """Measure a bundle in this process."""


@main.command()
@click.argument("bundle", default="mnist-empir")
@bundles_option
@click.option(
    "--data-dir", envvar="EMPIR_DATA_DIR", type=click.Path(path_type=Path), help="Where data sets are, or go."
)
@click.option("--n", type=click.IntRange(1), help="Clean test images. [all]")
@click.option("--adversarial", type=click.IntRange(0), default=500, show_default=True, help="Images to attack as well.")
@click.option("--eps", type=float, help="Of that attack, Linf PGD-40. [0.3 for grey images, 8/255 for colour]")
@click.option("--json", "as_json", is_flag=True, help="The rows, for machines.")
def engine(
    bundle: str, bundles: Path, data_dir: Path | None, n: int | None, adversarial: int, eps: float | None, as_json: bool
) -> None:
    """The limits of BUNDLE on this machine, without HTTP: each member, full and quorum, one image at a time.

    Over the test images, disagreements included, and over adversarial ones, for which a quorum's saving differs.

    \b
    Examples:
      empir load engine mnist-empir
      empir load engine mnist-empir --n 1000 --adversarial 100 --json
    """
    console = Console(stderr=True)
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        recipe = RECIPES.get(opened.manifest.provenance.recipe)
        if recipe is None:
            raise BundleError(f"{bundle}: made by a recipe that does not exist here; its test images are not known")
        test = recipe.data(data_dir).test
        victim = Victim.of_bundle(opened)
        with console.status(f"{len(test) if n is None else n:,} test images"):
            rows = limits(victim.ensemble, test.pixels(0, n), test.classes[:n], "clean")
        if adversarial:
            classes, radius = test.classes[:adversarial], eps or default_eps("linf", opened.manifest.input.channels)
            with console.status(f"{adversarial:,} images, attacked at eps {radius:.3g}"):
                images = attacked(victim, test.pixels(0, adversarial), classes, radius)
                rows += limits(victim.ensemble, images, classes, f"PGD-40, eps {radius:.3g}")
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(orjson.dumps([asdict(row) for row in rows]))
    else:
        Console().print(_table(rows))


def _table(rows: list[Limit]) -> Table:
    columns = ("images", "", "us", "CPU us", "accuracy", "fp32 asked", "differs from full")
    table = Table(*columns, box=box.SIMPLE)
    for row in rows:
        times = (f"{row.wall_us:.0f}", f"{row.cpu_us:.0f}")
        shares = (f"{row.accuracy:.2%}", f"{row.full_precision_asked:.2%}")
        table.add_row(row.images, row.what, *times, *shares, f"{row.disagreements:,}")
    return table
