"""Command line of a claim: `empir check BUNDLE FILE.npz`; without a file it hands over to the proof of the bundle."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import orjson
from rich.console import Console, Group
from rich.text import Text

from robustness.claims.claim import BadClaim, Claim, read_claim
from robustness.claims.entry import Entered, Origin, Target, enter_claim
from robustness.claims.judgement import judge_claim, lowered, norm_of, same_images
from robustness.claims.said import document, entered_text, report_text, verdict_text
from robustness.cli import main
from robustness.evaluation.image_sets import ImageSet, open_images
from robustness.norms import NORMS, NormName
from robustness.parameters import default_eps, number
from robustness.reporting.attached import attached_report
from robustness.reporting.page.parts import ball_text
from robustness.reporting.report import Report
from robustness.victim import PATIENCE_MS, Victim
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import bundles_option, data_dir_option, open_bundle
from runtime.ensemble import Ensemble
from runtime.errors import EmpirError, described
from runtime.manifest import Manifest

__all__ = ["check", "main"]

PROVE = "empir.prove"
"""In click's `meta`: gives the command that proves a bundle without a file; `empir` has one, this package none."""


@dataclass(frozen=True)
class Asked:
    """Options of the command that go before what the file and the bundle's report say."""

    norm: NormName | None
    eps: str | None
    images: Path | None
    data_dir: Path | None
    enter: bool


@main.command("check")
@click.argument("bundle", default=DEFAULT_BUNDLE)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@bundles_option
@click.option(
    "--norm", type=click.Choice(get_args(NormName)), help="What eps limits. [the file's, or the report's, or linf]"
)
@click.option(
    "--eps",
    help="How far an image may be from its test image, say 8/255. [the file's, or the report's, or the literature's]",
)
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="Other labelled images: npz, or a folder.")
@data_dir_option
@click.option("--enter", is_flag=True, help="Lower the bundle's report by those images of FILE that hold.")
@click.option("--json", "as_json", is_flag=True, help="The proof, or the judgement of FILE, for machines.")
@click.pass_context
def check(
    ctx: click.Context,
    bundle: str,
    file: Path | None,
    bundles: Path,
    norm: NormName | None,
    eps: str | None,
    images: Path | None,
    data_dir: Path | None,
    enter: bool,
    as_json: bool,
) -> None:
    """Prove BUNDLE again, or judge the adversarial images in FILE.

    Without FILE: its checksums, and that PyTorch, with the bundle's weights, gives every test image the class that the
    served graph gives, the same logits, and the gradients of the gradient graph.

    With FILE, anybody's npz: whether each image is within eps of its test image, in [0, 1], and misclassified by the
    served vote; and by how much that lowers the worst case of the bundle's report. Arrays: `images`, float32
    [K, C, H, W], or uint8 levels; `labels` [K], the true classes; `indices` [K] in the test set, or `originals`, the
    test images themselves; `norm` and `eps` if it likes. `empir evaluate` writes such a file, adversarial.npz. Exits
    with 0 only if every image holds. With --enter what they leave is written into the bundle's report, its page and
    its adversarial.npz; once is enough, a second time changes nothing.

    \b
    Examples:
      empir check mnist
      empir check mnist --json
      empir check mnist adversarial.npz --eps 0.3
      empir check mnist adversarial.npz --enter
    """
    if file is None:
        if enter:
            raise click.UsageError("--enter: expected FILE, the adversarial images to enter in the report")
        _prove(ctx, bundle=bundle, bundles=bundles, data_dir=data_dir, as_json=as_json)
        return
    try:
        opened = open_bundle(bundles, bundle)
        held = _check(opened, file, Asked(norm, eps, images, data_dir, enter), ctx.obj, as_json)
    except (EmpirError, OSError) as error:
        raise click.ClickException(described(error)) from error
    if not held:
        sys.exit(1)


def _prove(ctx: click.Context, **options: Any) -> None:
    prove: Callable[[], click.Command] | None = ctx.meta.get(PROVE)
    if prove is None:
        raise click.UsageError("expected FILE: python -m robustness has no PyTorch to compare with, `empir check` has")
    ctx.invoke(prove(), **options)


def _check(
    bundle: Bundle,
    file: Path,
    asked: Asked,
    held_out: Callable[[Manifest, Path | None], ImageSet] | None,
    as_json: bool,
) -> bool:
    manifest = bundle.manifest
    claim = read_claim(file, manifest)
    attached = attached_report(bundle.folder, manifest)
    report = None if attached is None else attached.report
    norm, eps = _ball(claim, asked, report, manifest)
    source = _test_images(asked, held_out, manifest)
    known = report is not None and same_images(report, source)
    if asked.enter and not (report is not None and known):
        raise BadClaim(_no_report(manifest, source, report))
    among = np.array(report.images.indices) if report is not None and known else None
    ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=PATIENCE_MS)
    victim = Victim(ensemble, [None] * len(manifest.members))
    left, entered = None, None
    try:
        judgement = judge_claim(claim, victim, source, norm, eps, among)
        if report is not None and known:
            left = lowered(report, claim, judgement, source)
            if asked.enter:
                target = Target(bundle.folder, manifest, report, source, victim)
                entered = enter_claim(target, claim, judgement, _origin(file))
    except BadClaim as error:
        raise BadClaim(f"{file}: {error}") from error
    finally:
        victim.close()
    if as_json:
        click.echo(orjson.dumps(document(manifest, norm, eps, judgement, left, entered)))
        return bool(judgement.holds.all())
    head = f"{file.name}: {len(claim.images)} images against {manifest.name} {manifest.version}, {ball_text(norm, eps)}"
    lines = [Text(head, "dim"), *verdict_text(judgement), report_text(report, left)]
    Console().print(Group(*lines, *_entered(entered, manifest)), soft_wrap=True)
    return bool(judgement.holds.all())


def _entered(entered: Entered | None, manifest: Manifest) -> list[Text]:
    return [] if entered is None else [entered_text(entered, manifest)]


def _origin(file: Path) -> Origin:
    return Origin(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), datetime.now(UTC).date().isoformat())


def _no_report(manifest: Manifest, source: ImageSet, report: Report | None) -> str:
    """Why nothing can be entered."""
    if report is None:
        return (
            f"{manifest.name}: expected a bundle with a report to enter the claim in, it has none; "
            f"`empir evaluate {manifest.name} --attach` makes one"
        )
    return (
        f"{manifest.name}: expected the test images of the bundle's report, {report.images.data_set} with its "
        f"checksums and pixels, got {source.name}, which are others: nothing is entered"
    )


def _ball(claim: Claim, asked: Asked, report: Report | None, manifest: Manifest) -> tuple[NormName, float]:
    """The option's, or else the file's, or else the report's, or else the literature's; eps only of the same norm."""
    norm = asked.norm or claim.norm or (norm_of(report) if report is not None else "linf")
    spec = manifest.input
    if asked.eps is not None:
        return norm, number("eps", asked.eps, NORMS[norm].largest((spec.channels, spec.height, spec.width)))
    if claim.eps is not None and claim.norm in (None, norm):
        return norm, claim.eps
    same = report is not None and norm_of(report) == norm
    return norm, report.eps if report is not None and same else default_eps(norm, spec.channels)


def _test_images(
    asked: Asked, held_out: Callable[[Manifest, Path | None], ImageSet] | None, manifest: Manifest
) -> ImageSet:
    if asked.images is not None:
        return open_images(asked.images, manifest)
    if held_out is None:
        raise BadClaim(f"{manifest.name}: expected --images: python -m robustness has no data sets, `empir` has them")
    return held_out(manifest, asked.data_dir)
