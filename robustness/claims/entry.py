"""A claim entered into a bundle's report: figures lowered, its images kept, the page drawn again."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustness.claims.claim import BadClaim, Claim, read_claim
from robustness.claims.judgement import Judgement, in_the_ball, judge_claim, norm_of
from robustness.claims.lowered_report import lowered_report
from robustness.evaluation.image_sets import ImageSet
from robustness.evaluation.ledger import Flags
from robustness.evaluation.soundness import shortest
from robustness.evaluation.worker import judge
from robustness.reporting.assemble import archive, file_of
from robustness.reporting.older import told_now
from robustness.reporting.page.parts import ball_text
from robustness.reporting.pictures import MOST_PICTURES, picture
from robustness.reporting.report import ADVERSARIAL, VOTE, AttackRow, ImageRow, Picture, Report
from robustness.reporting.report_html import page
from robustness.reporting.sentences import CLAIM
from robustness.reporting.share import Share
from robustness.victim import Array, Victim
from runtime.aside import write_aside
from runtime.manifest import Manifest


@dataclass(frozen=True)
class Target:
    """Where a claim is entered: a bundle's folder, its report, the report's test set, and the served members."""

    folder: Path
    manifest: Manifest
    report: Report
    source: ImageSet
    victim: Victim


@dataclass(frozen=True)
class Origin:
    """Where a claim comes from: its file's name and sha256, and the day on which it is entered."""

    file: str
    sha256: str
    day: str


@dataclass(frozen=True)
class Entered:
    """Test images that fell to a claim; those of which it has a nearer adversarial image than was known; and those at
    which a member fell that had withstood everything.
    """

    fallen: int
    nearer: int
    members: int

    def __bool__(self) -> bool:
        return bool(self.fallen or self.nearer or self.members)


@dataclass(frozen=True)
class _Found:
    """An adversarial image [C, H, W] that is new or nearer, its test image, verdict and size, and the size at which the
    verdict falls on the line to it.
    """

    image: Array
    clean: Array
    verdict: int
    size: float
    on_the_line: float


Rows = Mapping[int, ImageRow]
"""The report's images by their index in the test set, as everything below that is by test image."""


def enter_claim(target: Target, claim: Claim, judgement: Judgement, origin: Origin) -> Entered:
    """Write adversarial.npz, report.json and report.html anew where the claim changes them, each whole or not at all.

    Only images of the report's test images and in its own ball count. Raises BadClaim if none of them is misclassified,
    or the bundle has not the adversarial images of its report.
    """
    report = told_now(target.report)
    size, inside = in_the_ball(report, claim, judgement, target.source)
    inside &= np.isin(judgement.indices, report.images.indices)
    holds: Flags = inside & judgement.misclassified
    if not holds.any():
        raise BadClaim(
            f"expected misclassified images within {ball_text(report.norm, report.eps)} of the {report.images.n} test "
            "images of the bundle's report, got none: nothing is entered"
        )
    rows = {row.index: row for row in report.per_image}
    known = _known(target, rows)
    found = _found(target, claim, judgement.indices, size, holds, rows)
    turned = _turned(target.manifest, judgement, inside, rows)
    fallen = sum(rows[index].outcome == "not_broken" for index in found)
    entered = Entered(fallen, len(found) - fallen, len(turned))
    if entered:
        counts = {"attacked": len(set(judgement.indices.tolist())), "found": len(set(judgement.indices[holds]))}
        left = Share.of(report.robust.count - fallen, report.robust.n)
        attack = _attack_row(report, origin, left, {**counts, "first": fallen})
        images = [_image_row(row, found.get(row.index), turned, attack.name) for row in report.per_image]
        known |= {index: each.image for index, each in found.items()}
        _write(target, report, attack, images, known, found)
    return entered


def _known(target: Target, rows: Rows) -> dict[int, Array]:
    """The adversarial image kept of each test image that the report calls broken."""
    broken = [index for index, row in rows.items() if row.outcome == "broken"]
    path = target.folder / ADVERSARIAL
    if not broken:
        return {}
    kept = read_claim(path, target.manifest)
    images = {} if kept.indices is None else dict(zip(kept.indices.tolist(), kept.images, strict=True))
    for index in broken:
        if index not in images:
            raise BadClaim(
                f"{path}: expected an adversarial image of test image {index}, which the report calls broken"
            )
    return images


def _found(
    target: Target,
    claim: Claim,
    indices: NDArray[np.int64],
    size: NDArray[np.float64],
    holds: Flags,
    rows: Rows,
) -> dict[int, _Found]:
    """The claim's nearest image of each test image, where none was known, or it is nearer than the one kept.

    The report's own figure says how near that is: so an entering that was broken off goes on.
    """
    places: dict[int, int] = {}
    for place in sorted(np.flatnonzero(holds).tolist(), key=lambda place: float(size[place])):
        row = rows[index := int(indices[place])]
        if row.outcome == "not_broken" or (row.kept_size is not None and round(float(size[place]), 6) < row.kept_size):
            places.setdefault(index, place)
    if not places:
        return {}
    at = np.array(list(places.values()))
    images, clean = claim.images[at], target.source.pixels(indices[at])
    on_the_line = size[at] * shortest(target.victim, clean, images, claim.labels[at])
    verdicts = judge(target.victim, images).verdict.tolist()
    all_found = zip(images, clean, verdicts, size[at].tolist(), on_the_line.tolist(), strict=True)
    return {index: _Found(*each) for index, each in zip(places, all_found, strict=True)}


def _turned(manifest: Manifest, judgement: Judgement, inside: Flags, rows: Rows) -> dict[int, list[str]]:
    """All members fallen at a test image, where the claim turns one inside the ball that had withstood everything."""
    names = [member.name for member in manifest.members]
    wrong = {index: set[str]() for index in rows}
    for name, flags in zip(names, judgement.members_wrong, strict=True):
        for index in judgement.indices[inside & flags].tolist():
            wrong[index].add(name)
    turned = {}
    for index, row in rows.items():
        if row.members_fallen is not None and wrong[index] - set(row.members_fallen):
            turned[index] = [name for name in names if name in wrong[index] or name in row.members_fallen]
    return turned


def _attack_row(report: Report, origin: Origin, left: Share, counts: Mapping[str, int]) -> AttackRow:
    taken, name = {row.name for row in report.attacks}, f"{CLAIM}{origin.file}"
    free = name if name not in taken else next(each for k in count(2) if (each := f"{name}, {k}") not in taken)
    return AttackRow(
        name=free,
        on=VOTE,
        purpose="claim",
        threat_model="not known",
        note=f"entered on {origin.day}",
        parameters={"sha256": origin.sha256},
        **counts,
        accuracy=None,
        standing=left,
        seconds=0.0,
        queries=0,
        gradient_calls=0,
    )


def _image_row(row: ImageRow, found: _Found | None, turned: Mapping[int, list[str]], attack: str) -> ImageRow:
    changes: dict[str, object] = {}
    if row.index in turned:
        changes["members_fallen"] = turned[row.index]
    if found is not None:
        changes |= {
            "outcome": "broken",
            "broken_by": row.broken_by or attack,
            "verdict": found.verdict,
            "size": min(round(found.on_the_line, 6), np.inf if row.size is None else row.size),
            "kept_size": round(found.size, 6),
            "smallest_by": attack,
        }
    return row.model_copy(update=changes)


def _write(
    target: Target,
    report: Report,
    attack: AttackRow,
    images: list[ImageRow],
    known: Mapping[int, Array],
    found: Mapping[int, _Found],
) -> None:
    """All is made before anything is written; the report comes after the images that it counts."""
    kept = [row for row in images if row.outcome == "broken"]
    data, confirmed = _archive(kept, known), _confirmed(target, kept, known)
    files = [file_of(ADVERSARIAL, data), *(file for file in report.files if file.name != ADVERSARIAL)]
    changed = report.model_copy(update={"gallery": _gallery(report, kept, found), "files": files})
    lowered = lowered_report(changed, attack, images, confirmed)
    document, drawn = lowered.model_dump_json(indent=1).encode(), page(lowered).encode()
    assert target.manifest.report is not None
    path = target.folder / target.manifest.report
    write_aside(target.folder / ADVERSARIAL, data)
    write_aside(path, document)
    write_aside(path.with_suffix(".html"), drawn)


def _archive(kept: list[ImageRow], known: Mapping[int, Array]) -> bytes:
    indices, labels, verdicts = (
        np.array([getattr(row, field) for row in kept], dtype=np.int64) for field in ("index", "label", "verdict")
    )
    images = np.array([known[row.index] for row in kept], dtype=np.float32)
    return archive(indices, labels, verdicts, images, [str(row.smallest_by) for row in kept])


def _confirmed(target: Target, kept: list[ImageRow], known: Mapping[int, Array]) -> Share:
    """Of the images kept, those that the served vote judges wrong once more."""
    if not kept:
        return Share.of(0, 0)
    indices, labels = np.array([row.index for row in kept]), np.array([row.label for row in kept])
    again = Claim(np.stack([known[row.index] for row in kept]), labels, indices, None, None, None)
    judgement = judge_claim(again, target.victim, target.source, norm_of(target.report), target.report.eps)
    return Share.of(int(judgement.holds.sum()), len(kept))


def _gallery(report: Report, kept: list[ImageRow], found: Mapping[int, _Found]) -> list[Picture]:
    """Pictures of what is nearer now are drawn again; of what is new they are added while there is room."""
    labels = report.bundle.labels
    drawn = {
        row.index: picture(row, labels, found[row.index].clean, found[row.index].image)
        for row in kept
        if row.index in found
    }
    before = [drawn.pop(each.index, each) for each in report.gallery]
    return [*before, *drawn.values()][: max(MOST_PICTURES, len(before))]
