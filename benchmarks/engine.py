"""`empir load engine`: what a bundle can do on this machine without HTTP, each member, `full` and `quorum`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
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

from benchmarks.batches import Throughput, batches
from benchmarks.reach import BODIES, Reach, reach, read_target
from loadtest.commands.options import Saturated
from loadtest.machine import pin
from loadtest.pictures import open_pictures, tensor
from loadtest.pressure import Pressure, worst
from robustness.attacks.climb import Schedule, climb
from robustness.losses.goals import ANY_OTHER, as_asked
from robustness.losses.over_members import mean_probability
from robustness.parameters import default_eps
from robustness.victim import Victim
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import bundles_option, open_bundle
from runtime.ensemble import Ensemble
from runtime.errors import BundleError, EmpirError
from runtime.late_imports import import_late
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
@click.argument("bundle", default=DEFAULT_BUNDLE)
@bundles_option
@click.option(
    "--data-dir",
    envvar="EMPIR_DATA_DIR",
    type=click.Path(path_type=Path),
    help="Where data sets are, or go. [user's cache]",
)
@click.option("--n", type=click.IntRange(1), help="Clean test images. [all]")
@click.option("--adversarial", type=click.IntRange(0), default=500, show_default=True, help="Images to attack as well.")
@click.option("--eps", type=float, help="Of that attack, Linf PGD-40. [0.3 for grey images, 8/255 for colour]")
@click.option("--samples", is_flag=True, help="Only speeds, over samples/*.png: needs no data set.")
@click.option("--url", help=f"A server of this bundle, URL[#BODY] ({', '.join(BODIES)}): what share reaches a client.")
@click.option("--connections", "-c", type=click.IntRange(1, 1024), default=16, show_default=True, help="To --url.")
@click.option("--rounds", type=click.IntRange(2), default=5, show_default=True, help="Of the speeds.")
@click.option("--core", type=click.IntRange(0), help="Keep this process on one core.")
@click.option("--force", is_flag=True, help="Report the share although the load generator was the limit.")
@click.option("--json", "as_json", is_flag=True, help="The rows, for machines.")
def engine(
    bundle: str,
    bundles: Path,
    data_dir: Path | None,
    n: int | None,
    adversarial: int,
    eps: float | None,
    samples: bool,
    url: str | None,
    connections: int,
    rounds: int,
    core: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """The limits of BUNDLE on this machine, without HTTP: each member, full and quorum, one image and 16 at a time.

    Over the test images, disagreements included, and over adversarial ones, for which a quorum's saving differs. With
    --url also what a server of the same bundle answers, in the same run and in turn, and its share of the limit.

    \b
    Examples:
      empir load engine mnist-empir
      empir load engine mnist-empir --n 1000 --adversarial 100 --json
      empir load engine mnist-empir --samples --url http://127.0.0.1:8000 --core 0
    """
    console, found = Console(stderr=True), Found()
    try:
        pin(core)
        opened = open_bundle(bundles, bundle, gradients=not samples)
        ensemble = Ensemble.of_bundle(opened)
        if not samples:
            found.limits = _accuracy(console, opened, data_dir, n, adversarial, eps)
        spec = opened.manifest.input
        shape = (spec.channels, spec.height, spec.width)
        images = np.concatenate([tensor(picture, shape) for picture in open_pictures(())])
        with console.status("in batches"):
            found.batches = batches(ensemble, images, rounds)
        if url is not None:
            target = read_target(url)
            with console.status(f"in turn with {target.base}"):
                found.reach = reach(ensemble, images, target, bundle, connections=connections, rounds=rounds)
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.ClickException(f"--url, --core: {error}") from error
    except OSError as error:
        raise click.ClickException(f"{url}: no answer ({error.strerror or error}); is the server running?") from error
    _believe(found.reach, force)
    if as_json:
        click.echo(orjson.dumps(asdict(found)))
    else:
        for table in _tables(found):
            Console().print(table)


@dataclass
class Found:
    """What `engine` measures."""

    limits: list[Limit] = field(default_factory=list)
    batches: list[Throughput] = field(default_factory=list)
    reach: list[Reach] = field(default_factory=list)


def _accuracy(
    console: Console, opened: Bundle, data_dir: Path | None, n: int | None, adversarial: int, eps: float | None
) -> list[Limit]:
    """The rows over test images, clean and attacked. Raises BundleError if they are not known."""
    recipe = import_late("export.training.recipes", "engine").RECIPES.get(opened.manifest.provenance.recipe)
    if recipe is None:
        name = opened.manifest.name
        raise BundleError(
            f"{name}: made by a recipe that does not exist here; its test images are not known: --samples"
        )
    test = recipe.data(data_dir).test
    victim = Victim.of_bundle(opened)
    with console.status(f"{len(test) if n is None else n:,} test images"):
        rows = limits(victim.ensemble, test.pixels(0, n), test.classes[:n], "clean")
    if not adversarial:
        return rows
    classes, radius = test.classes[:adversarial], eps or default_eps("linf", opened.manifest.input.channels)
    with console.status(f"{adversarial:,} images, attacked at eps {radius:.3g}"):
        images = attacked(victim, test.pixels(0, adversarial), classes, radius)
        return rows + limits(victim.ensemble, images, classes, f"PGD-40, eps {radius:.3g}")


def _believe(found: list[Reach], force: bool) -> None:
    """Refuse to report a share that the load generator has limited."""
    pressure: Pressure | None = worst([each.pressure for each in found]) if found else None
    if pressure is not None and pressure.saturated and not force:
        raise Saturated(f"no report: {pressure.saturated} (--force reports anyway)")


def _tables(found: Found) -> Iterator[Table]:
    if found.limits:
        yield _table(found.limits)
    table = Table("", "batch", "images/s", "slowest to fastest round", box=box.SIMPLE)
    for row in found.batches:
        spread = f"{row.slowest:,.0f} to {row.fastest:,.0f}"
        table.add_row(row.what, str(row.batch), f"{row.images_per_second:,.0f}", spread)
    yield table
    if found.reach:
        table = Table("mode", "in-process, images/s", "served, images/s", "share", "p50", box=box.SIMPLE)
        for each in found.reach:
            p50 = f"{each.p50_ms:.3g} ms" if each.p50_ms is not None else "none"
            table.add_row(each.mode, f"{each.limit:,.0f}", f"{each.served:,.0f}", str(each.share or "none"), p50)
        yield table


def _table(rows: list[Limit]) -> Table:
    columns = ("images", "", "us", "CPU us", "accuracy", "fp32 asked", "differs from full")
    table = Table(*columns, box=box.SIMPLE)
    for row in rows:
        times = (f"{row.wall_us:.0f}", f"{row.cpu_us:.0f}")
        shares = (f"{row.accuracy:.2%}", f"{row.full_precision_asked:.2%}")
        table.add_row(row.images, row.what, *times, *shares, f"{row.disagreements:,}")
    return table
