"""A claim judged: whether its images are adversarial for the served ensemble, and what they leave of its report."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustness.claims.claim import BadClaim, Claim, refuse_outside
from robustness.evaluation.image_sets import AT_ONCE, ImageSet, Indices, pixels_sha256
from robustness.evaluation.ledger import TOLERANCE, Flags
from robustness.evaluation.worker import judge
from robustness.norms import NORMS, NormName
from robustness.reporting.report import Report
from robustness.reporting.share import Share
from robustness.victim import Array, Victim


@dataclass(frozen=True)
class Judgement:
    """Of each image of a claim [K]: its test image's index, its distance to it, and whether it is adversarial."""

    indices: Indices
    norm: NormName
    size: NDArray[np.float64]
    near: Flags
    in_range: Flags
    misclassified: Flags
    members_wrong: Flags
    """[M, K]: whether each member's own vote is wrong."""

    @property
    def holds(self) -> Flags:
        holds: Flags = self.near & self.in_range & self.misclassified
        return holds


@dataclass(frozen=True)
class Lowered:
    """A report's worst case before and after a claim; the test images that fall to it and had withstood the report."""

    before: Share
    after: Share
    fallen: list[int]


def judge_claim(
    claim: Claim, victim: Victim, source: ImageSet, norm: NormName, eps: float, among: Indices | None = None
) -> Judgement:
    """Compare each image with its test image, and ask the served members and their vote.

    Originals are looked for `among` these test images, or all. Raises BadClaim if an index or an original is none of
    the test set, or a label not the one that it has there.
    """
    indices = _indices(claim, source, among)
    wrong = claim.labels != source.classes[indices]
    if wrong.any():
        first = int(wrong.argmax())
        has, index = source.classes[indices[first]], indices[first]
        raise BadClaim(f"labels[{first}]: expected {has}, the class of test image {index}, got {claim.labels[first]}")
    size = distances(claim.images, indices, source, norm)
    in_range: Flags = np.all((claim.images >= 0) & (claim.images <= 1), axis=(1, 2, 3))
    misclassified, *members = judge(victim, claim.images).wrong(claim.labels)
    return Judgement(indices, norm, size, size <= eps + TOLERANCE, in_range, misclassified, np.array(members))


def distances(images: Array, indices: Indices, source: ImageSet, norm: NormName) -> NDArray[np.float64]:
    """Of images [K, C, H, W] to the test images of these indices [K]."""
    parts = _parts(len(indices))
    return np.concatenate([NORMS[norm].size(images[part] - source.pixels(indices[part])) for part in parts])


def _indices(claim: Claim, source: ImageSet, among: Indices | None) -> Indices:
    total = len(source.classes)
    if claim.indices is not None:
        refuse_outside("indices", claim.indices, total)
        return claim.indices
    assert claim.originals is not None
    wanted = np.arange(total) if among is None else among
    places: dict[bytes, list[int]] = {}
    for part in _parts(len(wanted)):
        for key, index in zip(_levels(source.pixels(wanted[part])), wanted[part].tolist(), strict=True):
            places.setdefault(key, []).append(index)
    found = []
    for place, (key, label) in enumerate(zip(_levels(claim.originals), claim.labels.tolist(), strict=True)):
        twins = places.get(key, [])
        if not twins:
            raise BadClaim(
                f"originals[{place}]: expected one of {len(wanted)} test images of {source.name}, got another"
            )
        found.append(next((index for index in twins if source.classes[index] == label), twins[0]))
    return np.array(found, dtype=np.int64)


def _levels(images: Array) -> list[bytes]:
    """Each image as 8-bit levels, which are the same whatever rounding it went through."""
    return [level.tobytes() for level in np.rint(images.clip(0, 1) * 255).astype(np.uint8)]


def _parts(count: int) -> list[slice]:
    return [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]


def lowered(report: Report, claim: Claim, judgement: Judgement, source: ImageSet) -> Lowered:
    """What the claim leaves of a report on the same test set: only what fits the report's own ball counts."""
    inside = in_the_ball(report, claim, judgement, source)[1] & judgement.misclassified
    broken = set(judgement.indices[inside].tolist())
    fallen = [row.index for row in report.per_image if row.outcome == "not_broken" and row.index in broken]
    return Lowered(report.robust, Share.of(report.robust.count - len(fallen), report.robust.n), sorted(fallen))


def in_the_ball(
    report: Report, claim: Claim, judgement: Judgement, source: ImageSet
) -> tuple[NDArray[np.float64], Flags]:
    """Of each image [K] its size in the report's norm, and whether it lies in the report's ball and in [0, 1]."""
    norm = norm_of(report)
    same = norm == judgement.norm
    size = judgement.size if same else distances(claim.images, judgement.indices, source, norm)
    return size, judgement.in_range & (size <= report.eps + report.tolerance)


def same_images(report: Report, source: ImageSet) -> bool:
    """Whether these are the images of the report, and not just files of their names and sizes."""
    images = report.images
    if (source.name, source.sums) != (images.data_set, images.sums):
        return False
    indices = np.array(images.indices)
    if images.pixels_sha256 is None:
        return True
    return images.pixels_sha256 == pixels_sha256(source.pixels(indices[part]) for part in _parts(len(indices)))


def norm_of(report: Report) -> NormName:
    """The report's norm, as one of those that there are."""
    return next(name for name in NORMS if name == report.norm)
