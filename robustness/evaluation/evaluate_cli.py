"""Command line of an evaluation: `empir evaluate`."""

import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from robustness.cli import main
from robustness.evaluation.crew import Alone, Crew, Processes, RayCluster
from robustness.evaluation.evaluate import Plan, evaluate
from robustness.evaluation.image_sets import BadImages, ImageSet, draw, open_images
from robustness.evaluation.journal import Journal
from robustness.evaluation.suites import Target, make_suite, suite_eps
from robustness.norms import NORMS, NormName
from robustness.parameters import number
from robustness.reporting.assemble import Sitting, write_report
from robustness.reporting.attached import attach_report, refuse_to_lose
from robustness.reporting.report import REPORT, Report
from robustness.reporting.terminal import show
from robustness.victim import Victim
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import bundles_option, data_dir_option, open_bundle
from runtime.ensemble import usable_cores
from runtime.errors import EmpirError, InvalidValue, described
from runtime.manifest import Manifest
from runtime.progress_lines import ProgressLines

__all__ = ["evaluate_command", "main", "show"]

HEAD = {
    *("trustworthy", "failed_checks", "summary", "suite", "norm", "eps", "seed", "clean", "robust", "confirmed"),
}
"""What `--json` prints of a report."""

SUITES_HELP = """adaptive: ours, of attackers who know the vote, with gradients and by queries. autoattack: these, then
the reference AutoAttack on the vote and on each member. empir-2020: the paper's own attacks, bugs included, and
adaptive ones beside them.
"""

PLACES = ("--bundles", "--data-dir", "--out", "--ray")
"""Options that say where something is, and change nothing that is found."""
IMAGES = "--images"

HeldOut = Callable[[Manifest, Path | None, bool], ImageSet]
"""Gives the test images of the data set that a bundle was trained on, from a folder, without unreadable ones where that
is wanted; `empir` has one, this package none.
"""


@dataclass(frozen=True)
class Asked:
    """Options of the command that say what is to be measured."""

    suite: str
    n: int
    seed: int
    norm: NormName
    eps: str | None
    images: Path | None
    skip_unreadable: bool
    data_dir: Path | None

    def plan(self, manifest: Manifest, held_out: HeldOut | None) -> Plan:
        """The evaluation of the bundle with this manifest. Raises EmpirError where there is none like that."""
        norm = self.norm
        eps = suite_eps(self.suite, norm, manifest) if self.eps is None else self._eps(self.eps, manifest)
        steps = make_suite(self.suite, Target(manifest, norm, eps))
        source = open_images(self.images, manifest) if self.images else self._held_out(held_out, manifest)
        drawn = draw(source, self.n, self.seed, skip_unreadable=self.skip_unreadable)
        return Plan(manifest, self.suite, norm, eps, self.seed, steps, drawn)

    def _eps(self, text: str, manifest: Manifest) -> float:
        spec = manifest.input
        return number("eps", text, NORMS[self.norm].largest((spec.channels, spec.height, spec.width)))

    def _held_out(self, held_out: HeldOut | None, manifest: Manifest) -> ImageSet:
        if held_out is None:
            raise BadImages(
                f"{manifest.name}: expected --images: python -m robustness has no data sets, `empir` has them"
            )
        return held_out(manifest, self.data_dir, self.skip_unreadable)


@main.command("evaluate")
@click.argument("bundle", default=DEFAULT_BUNDLE)
@bundles_option
@click.option("--suite", default="adaptive", show_default=True, help=SUITES_HELP)
@click.option("--n", type=click.IntRange(1), default=1000, show_default=True, help="Test images, drawn by the seed.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw, and of the attacks.")
@click.option(
    "--norm",
    type=click.Choice(get_args(NormName)),
    default="linf",
    show_default=True,
    help="What eps limits: the largest change of a pixel (linf), or the length of all changes together (l2).",
)
@click.option(
    "--eps", help="Radius of the ball: a number, or a fraction like 8/255. [0.3 for digits, 8/255 for photos]"
)
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="Other labelled images: npz, or a folder.")
@click.option("--skip-unreadable", is_flag=True, help="Leave unreadable images out; the report counts them.")
@data_dir_option
@click.option("--workers", type=click.IntRange(1), help="Processes. [one for each core]")
@click.option("--ray", "address", metavar="ADDRESS", help="Work on the Ray cluster at this address, or `local`.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder. [reports/BUNDLE-SUITE]")
@click.option("--attach", is_flag=True, help="Put the report into the bundle too, and name it in its manifest.")
@click.option(
    "--force",
    is_flag=True,
    help="Replace a report that is at --out already, once the new one is there; with --attach, in the bundle too.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="The head of the report, for machines; the whole is in report.json."
)
@click.pass_context
def evaluate_command(
    ctx: click.Context,
    /,
    bundle: str,
    bundles: Path,
    workers: int | None,
    address: str | None,
    out: Path | None,
    attach: bool,
    force: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Measure how robust BUNDLE is (mnist if none is named): every attack of a suite on n test images, and checks
    that the attacks work.

    Every finished attack is saved beside --out, in FOLDER.work: after an interruption the same command goes on there.
    Writes report.json, its page report.html, and adversarial.npz, the smallest adversarial image of each that fell.

    \b
    Examples:
      empir evaluate mnist --n 100
      empir evaluate mnist-empir --suite empir-2020 --n 1000
      empir evaluate cifar10-empir --suite autoattack --eps 8/255 --n 500 --workers 2
    """
    console = Console(stderr=True)
    # Each worker has one thread; torch, which AutoAttack needs, reads this when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        out = out or Path("reports") / f"{opened.manifest.name}-{asked['suite']}"
        if (out / REPORT).exists() and not force:
            raise InvalidValue(f"{out / REPORT}: there is a report already; expected --force, or another --out")
        if attach and not force:
            refuse_to_lose(opened.folder, opened.manifest, asked["n"])
        out.parent.mkdir(parents=True, exist_ok=True)  # where that cannot be done nothing need be attacked
        plan = Asked(**asked).plan(opened.manifest, ctx.obj)
        report = _evaluate(opened, plan, out, force, _crew(opened, workers, address), console)
        if attach:
            attach_report(out, opened.folder, replace=force)
    except (EmpirError, OSError) as error:
        raise click.ClickException(described(error)) from error
    except KeyboardInterrupt:
        console.print(f"\nInterrupted: finished attacks are in {_work(out or Path())}. The same command goes on there.")
        sys.exit(130)
    if as_json:
        click.echo(orjson.dumps({"out": str(out), **report.model_dump(mode="json", include=HEAD)}))
    else:
        Console().print(show(report, out))


def _evaluate(bundle: Bundle, plan: Plan, out: Path, force: bool, crew: Callable[[], Crew], console: Console) -> Report:
    start, opened = time.perf_counter(), crew()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        journal = Journal(_work(out), plan.fingerprint(), replace=force)
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(plan.suite, total=1.0)
            lines = ProgressLines(lambda line: console.print(line, soft_wrap=True, highlight=False))

            def advance(name: str, share: float) -> None:
                bar.update(task, advance=share, description=name)
                if not console.is_terminal:
                    lines.advance(name, share)
                journal.tick(time.perf_counter() - start)

            def say(what: str) -> None:
                bar.update(task, description=what, total=None)  # nobody knows how much of it is left
                if not console.is_terminal:
                    console.print(f"attacks done; {what}")

            ledgers = evaluate(plan, journal, opened, advance)
            victim = Victim.of_bundle(bundle)
            try:
                seconds = journal.tick(time.perf_counter() - start)
                sitting = Sitting(command_of(sys.argv[1:]), seconds, opened.size)
                report = write_report(plan, ledgers, victim, sitting, out, say)
            finally:
                victim.close()
    finally:
        opened.close()
    journal.remove()
    return report


def command_of(arguments: list[str]) -> str:
    """The command for the report; where things lie on this machine and its network is nobody else's business.

    >>> command_of(["evaluate", "mnist", "--data-dir", "/home/me/data", "--out=/tmp/x", "--n", "10"])
    'empir evaluate mnist --n 10'
    >>> command_of(["evaluate", "pets", "--images", "/home/me/more pets/", "--ray", "10.0.0.1:6379"])
    "empir evaluate pets --images 'more pets'"
    """
    kept, rest = ["empir"], iter(arguments)
    for argument in rest:
        option, separator, value = argument.partition("=")
        if option not in (*PLACES, IMAGES):
            kept.append(argument)
            continue
        value = value if separator else next(rest, "")
        kept += [IMAGES, Path(value).resolve().name] if option == IMAGES else []
    return shlex.join(kept)


def _crew(bundle: Bundle, workers: int | None, address: str | None) -> Callable[[], Crew]:
    if address is not None:
        return lambda: RayCluster(bundle, address, workers)
    size = workers or usable_cores()
    return lambda: Alone.of_bundle(bundle) if size == 1 else Processes(bundle, size)


def _work(out: Path) -> Path:
    return out.with_name(f"{out.name}.work")
