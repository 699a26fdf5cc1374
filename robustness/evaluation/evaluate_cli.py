"""Command line of an evaluation: `empir evaluate`."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import orjson
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from robustness.cli import main
from robustness.evaluation.crew import Alone, Crew, Processes, RayCluster
from robustness.evaluation.evaluate import Advance, Plan, evaluate
from robustness.evaluation.image_sets import BadImages, ImageSet, draw, open_images
from robustness.evaluation.journal import Journal, write_aside
from robustness.evaluation.suites import SUITES, Target, make_suite, suite_eps
from robustness.norms import NORMS, NormName
from robustness.parameters import number
from robustness.reporting.assemble import Sitting, write_report
from robustness.reporting.report import ADVERSARIAL, REPORT, Report
from robustness.reporting.report_html import PAGE
from robustness.reporting.share import Share
from robustness.victim import Victim
from runtime.bundle import MANIFEST, Bundle
from runtime.cli import bundles_option, open_bundle
from runtime.ensemble import usable_cores
from runtime.errors import EmpirError, InvalidValue, described
from runtime.manifest import Manifest

__all__ = ["attach_report", "evaluate_command", "main", "show"]

HEAD = {
    *("trustworthy", "failed_checks", "summary", "suite", "norm", "eps", "seed", "clean", "robust", "confirmed"),
}
"""What `--json` prints of a report."""

HeldOut = Callable[[Manifest, Path | None], ImageSet]
"""Gives the test images of the data set that a bundle was trained on; `empir` has one, this package none."""


@main.command("evaluate")
@click.argument("bundle", default="mnist-empir")
@bundles_option
@click.option("--suite", default="adaptive", show_default=True, help=f"One of {', '.join(SUITES)}.")
@click.option("--n", type=click.IntRange(1), default=1000, show_default=True, help="Test images, drawn by the seed.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--norm", type=click.Choice(get_args(NormName)), default="linf", show_default=True)
@click.option(
    "--eps", help="Radius of the ball: a number, or a fraction like 8/255. [0.3 for digits, 8/255 for photos]"
)
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="Other labelled images: npz, or a folder.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), envvar="EMPIR_DATA_DIR", help="Where data sets are, or go."
)
@click.option("--workers", type=click.IntRange(1), help="Processes. [one for each core]")
@click.option("--ray", "address", metavar="ADDRESS", help="Work on the Ray cluster at this address, or `local`.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder. [reports/BUNDLE-SUITE]")
@click.option("--attach", is_flag=True, help="Put the report into the bundle too, and name it in its manifest.")
@click.option("--force", is_flag=True, help="Replace a report that is at --out already.")
@click.option(
    "--json", "as_json", is_flag=True, help="The head of the report, for machines; the whole is in report.json."
)
@click.pass_context
def evaluate_command(
    ctx: click.Context,
    bundle: str,
    bundles: Path,
    suite: str,
    n: int,
    seed: int,
    norm: NormName,
    eps: str | None,
    images: Path | None,
    data_dir: Path | None,
    workers: int | None,
    address: str | None,
    out: Path | None,
    attach: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Measure how robust BUNDLE is: every attack of a suite on n test images, and checks that the attacks work.

    Every finished attack is saved beside --out, in FOLDER.work: after an interruption the same command goes on there.
    Writes report.json, its page report.html, and adversarial.npz, the smallest adversarial image of each that fell.

    \b
    Examples:
      empir evaluate mnist-empir --n 100
      empir evaluate mnist-empir --suite empir-2020 --n 1000
      empir evaluate cifar10 --suite autoattack --eps 8/255 --n 500 --workers 2
    """
    console = Console(stderr=True)
    # Each worker has one thread; torch, which AutoAttack needs, reads this when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        manifest = opened.manifest
        out = out or Path("reports") / f"{manifest.name}-{suite}"
        _refuse_to_overwrite(out, force)
        out.parent.mkdir(parents=True, exist_ok=True)  # where that cannot be done nothing need be attacked
        radius = suite_eps(suite, norm, manifest) if eps is None else number("eps", eps, _largest(norm, manifest))
        steps = make_suite(suite, Target(manifest, norm, radius))
        source = open_images(images, manifest) if images else _held_out(ctx.obj, manifest, data_dir)
        plan = Plan(manifest, suite, norm, radius, seed, steps, draw(source, n, seed))
        report = _evaluate(opened, plan, out, _crew(opened, workers, address), console)
        if attach:
            attach_report(out, opened.folder)
    except (EmpirError, OSError) as error:
        raise click.ClickException(described(error)) from error
    except KeyboardInterrupt:
        console.print(f"\nInterrupted: finished attacks are in {_work(out or Path())}. The same command goes on there.")
        sys.exit(130)
    if as_json:
        click.echo(orjson.dumps({"out": str(out), **report.model_dump(mode="json", include=HEAD)}))
    else:
        Console().print(show(report, out))


def _evaluate(bundle: Bundle, plan: Plan, out: Path, crew: Callable[[], Crew], console: Console) -> Report:
    journal, start = Journal(_work(out), plan.fingerprint()), time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    opened = crew()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(plan.suite, total=1.0)

            def advance(name: str, share: float) -> None:
                bar.update(task, advance=share, description=name)
                journal.tick(time.perf_counter() - start)

            report = _run(bundle, plan, journal, opened, advance, out, start)
    finally:
        opened.close()
    journal.remove()
    return report


def _run(bundle: Bundle, plan: Plan, journal: Journal, crew: Crew, advance: Advance, out: Path, start: float) -> Report:
    ledgers = evaluate(plan, journal, crew, advance)
    victim = Victim.of_bundle(bundle)
    try:
        seconds = journal.tick(time.perf_counter() - start)
        return write_report(plan, ledgers, victim, Sitting(command_of(sys.argv[1:]), seconds, crew.size), out)
    finally:
        victim.close()


def command_of(arguments: list[str]) -> str:
    """The command for the report; where data and reports lie on this machine is nobody else's business.

    >>> command_of(["evaluate", "mnist", "--data-dir", "/home/me/data", "--out=/tmp/report", "--n", "10"])
    'empir evaluate mnist --n 10'
    """
    kept, rest = ["empir"], iter(arguments)
    for argument in rest:
        if argument in ("--data-dir", "--out"):
            next(rest, None)
        elif not argument.startswith(("--data-dir=", "--out=")):
            kept.append(argument)
    return " ".join(kept)


def attach_report(out: Path, bundle: Path) -> None:
    """Copy the report of `out` into the bundle, and name it in the manifest; its version stays what it is."""
    for file in sorted(each for each in out.iterdir() if each.is_file()):
        write_aside(bundle / file.name, file.read_bytes())
    path = bundle / MANIFEST
    manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8")).model_copy(update={"report": REPORT})
    write_aside(path, (manifest.model_dump_json(indent=2) + "\n").encode())


def _crew(bundle: Bundle, workers: int | None, address: str | None) -> Callable[[], Crew]:
    if address is not None:
        return lambda: RayCluster(bundle, address, workers)
    size = workers or usable_cores()
    return lambda: Alone.of_bundle(bundle) if size == 1 else Processes(bundle, size)


def _held_out(held_out: HeldOut | None, manifest: Manifest, data_dir: Path | None) -> ImageSet:
    if held_out is None:
        raise BadImages(f"{manifest.name}: expected --images: python -m robustness has no data sets, `empir` has them")
    return held_out(manifest, data_dir)


def _largest(norm: NormName, manifest: Manifest) -> float:
    spec = manifest.input
    return NORMS[norm].largest((spec.channels, spec.height, spec.width))


def _work(out: Path) -> Path:
    return out.with_name(f"{out.name}.work")


def _refuse_to_overwrite(out: Path, force: bool) -> None:
    if not (out / REPORT).exists():
        return
    if not force:
        raise InvalidValue(f"{out / REPORT}: there is a report already; expected --force, or another --out")
    for name in (REPORT, PAGE, ADVERSARIAL):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(_work(out), ignore_errors=True)


def show(report: Report, out: Path) -> Group:
    """The report for people: worst case, attacks, members, checks."""
    head = Text.assemble(
        (f"{report.bundle.name} {report.bundle.version}, {report.suite}, {report.norm} eps {report.eps:.4g}, ", "dim"),
        (f"n = {report.images.n}, seed {report.seed}", "dim"),
    )
    lines = [Text(line, "bold red" if line.startswith("Not trustworthy") else "") for line in report.summary]
    tables = [_attacks(report), _members(report)]
    if report.paper is not None:
        tables.append(_paper(report))
    return Group(head, *lines, Text(), *tables, Text(f"written to {out}", "dim"))


def _attacks(report: Report) -> Table:
    table = Table(
        "attack", "tried on", "found", "first", "still right", "s", box=None, header_style="dim", pad_edge=False
    )
    for row in report.attacks:
        if row.purpose in ("worst case", "paper"):
            still = "" if row.standing is None else f"{row.standing.share:.1%}"
            table.add_row(row.name, str(row.attacked), str(row.found), str(row.first), still, f"{row.seconds:.1f}")
    return table


def _members(report: Report) -> Table:
    table = Table("", "clean", "worst case", "alone", box=None, header_style="dim", pad_edge=False)
    for row in report.members:
        table.add_row(row.name, *(_share(share) for share in (row.clean, row.robust, row.own)))
    table.add_row("vote", _share(report.clean), _share(report.robust), "", style="bold")
    return table


def _paper(report: Report) -> Table:
    assert report.paper is not None
    table = Table("per cent", *report.paper.columns, box=None, header_style="dim", pad_edge=False)
    for row in report.paper.rows:
        if row.paper is not None:
            table.add_row(f"paper: {row.what}", *(f"{row.paper[name]:.1f}" for name in report.paper.columns))
        ours = (f"{100 * row.ours[name].share:.1f}" for name in report.paper.columns[:-1])
        table.add_row(f"ours: {row.what}", *ours, f"{row.ours_mean:.1f}")
    return table


def _share(share: Share) -> str:
    return f"{share.share:.1%} ({share.low:.1%} to {share.high:.1%})"
