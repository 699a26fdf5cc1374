"""The report put together: findings counted, adversarial images written and confirmed, checks run, files hashed."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

import numpy as np

from robustness.attacks.attack import Labels
from robustness.evaluation.checks import Evidence, run_checks
from robustness.evaluation.evaluate import Plan
from robustness.evaluation.findings import Findings
from robustness.evaluation.image_sets import Indices
from robustness.evaluation.ledger import TOLERANCE, Ledger
from robustness.evaluation.soundness import known, plant, shortest, zero_gradients
from robustness.evaluation.suites import CHECK_IMAGES, ITERATIVE, MORE_STEPS, ONE_STEP, QUERIES, VERSION, unit
from robustness.evaluation.worker import judge
from robustness.norms import NORMS
from robustness.reporting import beside, tables
from robustness.reporting.pictures import MOST_PICTURES, picture
from robustness.reporting.report import (
    ADVERSARIAL,
    REPORT,
    BundleIdentity,
    Check,
    DrawnImages,
    File,
    ImageRow,
    MemberIdentity,
    Picture,
    Report,
    Run,
)
from robustness.reporting.report_html import PAGE, page
from robustness.reporting.sentences import UNTRUSTED, percent_of, worst_case
from robustness.reporting.share import Share
from robustness.victim import Array, Victim
from runtime.aside import write_aside
from runtime.manifest import Manifest
from runtime.origin import git_commit, hardware, packages

PACKAGES = ("empir-serve", "numpy", "onnxruntime", "pyautoattack", "torch", "ray")
MOST_PLANTED = 10
MOST_NAMED = 3


@dataclass(frozen=True)
class Sitting:
    """How an evaluation was run."""

    command: str
    seconds: float
    workers: int


Say = Callable[[str], None]
"""Is told what is being measured: some of it takes minutes."""


def silent(what: str) -> None:
    """Tells nobody."""


def write_report(
    plan: Plan, ledgers: Sequence[Ledger], victim: Victim, sitting: Sitting, out: Path, say: Say = silent
) -> Report:
    """Write `adversarial.npz`, `report.json` and `report.html` to the folder `out`, and give back the report.

    `victim` is asked to confirm every adversarial image, read back from the file.
    """
    findings = Findings.of(plan, ledgers)
    out.mkdir(parents=True, exist_ok=True)
    data = _archive(findings)
    write_aside(out / ADVERSARIAL, data)
    confirmed = confirm(victim, plan, out / ADVERSARIAL)
    report = assemble(findings, victim, confirmed, sitting, [file_of(ADVERSARIAL, data)], say)
    write_aside(out / REPORT, report.model_dump_json(indent=1).encode())
    write_aside(out / PAGE, page(report).encode())
    return report


def assemble(
    findings: Findings, victim: Victim, confirmed: Share, sitting: Sitting, files: list[File], say: Say
) -> Report:
    """The report; the victim is asked for gradients and planted images."""
    plan = findings.plan
    say("the checks")
    first = slice(CHECK_IMAGES)
    images, labels = plan.drawn.images[first], plan.drawn.labels[first]
    zero = zero_gradients(victim, images, labels, plan.norm, plan.eps, plan.seed)
    checks = run_checks(_evidence(findings, victim, confirmed, zero))
    kept = findings.kept
    share = shortest(victim, plan.drawn.images[kept], findings.smallest[kept], plan.drawn.labels[kept])
    size = findings.size[kept] * share
    rows = tables.image_rows(findings, size)
    failed = [check.name for check in checks if not check.passed]
    say("the detector, against three attackers")
    detection = beside.detection(findings, victim)
    say("what it costs")
    overhead = beside.cost(findings, victim)
    return Report(
        trustworthy=not failed,
        failed_checks=failed,
        summary=_summary(findings, checks),
        suite=plan.suite,
        suite_version=VERSION,
        norm=plan.norm,
        eps=plan.eps,
        seed=plan.seed,
        tolerance=TOLERANCE,
        clean=findings.clean(),
        robust=findings.robust(),
        confirmed=confirmed,
        bundle=_bundle(plan.manifest),
        images=_images(plan),
        run=_run(findings, sitting),
        attacks=tables.attack_rows(findings),
        members=tables.member_rows(findings, zero),
        comparisons=tables.comparisons(findings),
        transfer=tables.transfer(findings),
        curve=tables.curve(findings),
        classes=tables.class_rows(rows, plan.manifest.labels),
        sizes=tables.sizes(findings, size),
        paper=tables.paper_table(findings),
        detection=detection,
        overhead=overhead,
        checks=checks,
        per_image=rows,
        gallery=_gallery(findings, rows),
        files=files,
    )


def confirm(victim: Victim, plan: Plan, path: Path) -> Share:
    """Of the adversarial images in a file, those inside the ball and [0, 1] that the served vote judges wrong."""
    with np.load(path, allow_pickle=False) as saved:
        indices, images, labels = saved["indices"], saved["images"], saved["labels"]
    place = {int(index): row for row, index in enumerate(plan.drawn.indices)}
    clean = plan.drawn.images[[place[int(index)] for index in indices]]
    inside = NORMS[plan.norm].size(images - clean) <= plan.eps + TOLERANCE
    inside &= (images >= 0).all(axis=(1, 2, 3)) & (images <= 1).all(axis=(1, 2, 3))
    wrong = judge(victim, images).wrong(labels)[0]
    return Share.of(int((inside & wrong).sum()), len(images))


def _archive(findings: Findings) -> bytes:
    kept, drawn = findings.kept, findings.plan.drawn
    names = [findings.plan.steps[number].name for number in findings.smallest_by[kept]]
    return archive(drawn.indices[kept], drawn.labels[kept], findings.verdict[kept], findings.smallest[kept], names)


def archive(indices: Indices, labels: Labels, verdicts: Labels, images: Array, attacks: Sequence[str]) -> bytes:
    """npz: `indices` in the test set, `labels`, `verdicts`, `attacks` (names) [K]; `images` float32 [K, C, H, W]."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        indices=indices,
        labels=labels,
        verdicts=verdicts,
        images=images,
        attacks=np.array(attacks, dtype=np.str_),
    )
    return buffer.getvalue()


def file_of(name: str, data: bytes) -> File:
    return File(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _evidence(findings: Findings, victim: Victim, confirmed: Share, zero: dict[str, Share]) -> Evidence:
    rows = {label: findings.labelled(label) for label in (ONE_STEP, ITERATIVE, MORE_STEPS, QUERIES)}
    first = slice(0, min(CHECK_IMAGES, findings.n))
    wrong = {label: None if row is None else findings.wrong_after(row)[first] for label, row in rows.items()}
    curve, drawn = tables.curve(findings), findings.plan.drawn
    rows_known = known(findings.size, findings.smallest_by, MOST_PLANTED) if all(victim.differentiable) else []
    planted = plant(
        victim,
        drawn.images[rows_known],
        findings.smallest[rows_known],
        drawn.labels[rows_known],
        findings.plan.norm,
        findings.plan.seed,
    )
    return Evidence(
        one_step=wrong[ONE_STEP],
        iterative=wrong[ITERATIVE],
        more_steps=wrong[MORE_STEPS],
        queries=wrong[QUERIES],
        suite=findings.fallen_to_suite[first],
        queries_alone={target: findings.fallen_to_queries(target) for target in findings.targets},
        n=findings.n,
        curves={name: [share.n - share.count for share in shares] for name, shares in curve.series.items()},
        curve_images=curve.n,
        zero_gradients=zero,
        not_finite=sum(row.cost.not_finite for row in findings.rows),
        members=[member.name for member in findings.plan.manifest.members],
        planted=planted,
        confirmed=confirmed,
    )


def _summary(findings: Findings, checks: list[Check]) -> list[str]:
    plan = findings.plan
    lines = [f"{UNTRUSTED}: {check.name}. {check.sentence}" for check in checks if not check.passed]
    lines += [
        f"Clean accuracy {percent_of(findings.clean())}.",
        worst_case(plan.suite, plan.norm, plan.eps, plan.seed, findings.robust()),
        "Not broken by these attacks is not proven robust: a stronger attack may exist.",
    ]
    if findings.steps("paper"):
        lines.append("CW and BIM of the paper are transfer attacks: they took the full-precision member's gradient.")
        if (size := unit(plan.manifest)) != 1:
            lines.append(f"The paper counts eps after normalisation: 1 there is {size:.4f} here.")
    if skipped := plan.manifest.provenance.skipped_images:
        lines.append(f"Unreadable images left out of the data set that the bundle was made of: {skipped:,}.")
    if unreadable := plan.drawn.unreadable:
        lines.append(f"Unreadable images left out of {plan.drawn.data_set}: {_counted(list(unreadable))}.")
    lines += [
        f"{member.name} has no gradient graph: attacks that need its gradient were left out."
        for member in plan.manifest.members
        if member.gradient_file is None
    ]
    return lines


def _counted(names: list[str]) -> str:
    """How many, and the first of them: `5 (a, b, c and 2 more)`."""
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"{len(names):,} ({', '.join(names[:MOST_NAMED])}{more})"


def _bundle(manifest: Manifest) -> BundleIdentity:
    spec = manifest.input
    fields = set(MemberIdentity.model_fields)
    return BundleIdentity(
        name=manifest.name,
        version=manifest.version,
        recipe=manifest.provenance.recipe,
        rule=manifest.vote.rule,
        tie_breaker=manifest.vote.tie_breaker,
        labels=list(manifest.labels),
        image_shape=[spec.channels, spec.height, spec.width],
        members=[MemberIdentity.model_validate(member.model_dump(include=fields)) for member in manifest.members],
    )


def _images(plan: Plan) -> DrawnImages:
    drawn = plan.drawn
    indices = drawn.indices.tolist()
    return DrawnImages(
        data_set=drawn.data_set,
        sums=drawn.sums,
        pixels_sha256=drawn.pixels_sha256,
        total=drawn.total,
        n=len(indices),
        indices=indices,
        unreadable=dict(drawn.unreadable),
    )


def _run(findings: Findings, sitting: Sitting) -> Run:
    return Run(
        command=sitting.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(sitting.seconds, 1),
        attack_seconds=round(sum(row.cost.seconds for row in findings.rows), 1),
        workers=sitting.workers,
        chunk=findings.plan.chunk,
        hardware=hardware(),
        packages=packages(PACKAGES),
        git_commit=git_commit(),
    )


def _gallery(findings: Findings, rows: Sequence[ImageRow]) -> list[Picture]:
    """The adversarial images kept, one of each class in turn."""
    by_class: dict[int, list[int]] = {}
    for image in findings.kept.tolist():
        by_class.setdefault(int(findings.plan.drawn.labels[image]), []).append(image)
    turns = zip_longest(*(by_class[label] for label in sorted(by_class)))
    chosen = [image for turn in turns for image in turn if image is not None][:MOST_PICTURES]
    labels, clean = list(findings.plan.manifest.labels), findings.plan.drawn.images
    return [picture(rows[image], labels, clean[image], findings.smallest[image]) for image in chosen]
