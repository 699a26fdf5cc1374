"""The report of an evaluation, `report.json`: how robust a bundle is, with every attack's parameters."""

from typing import Any, Literal

from pydantic import Field

from robustness.detection.detection_report import DetectionReport
from robustness.reporting.overhead import OverheadReport
from robustness.reporting.share import Part, Share
from runtime.manifest import Precision

REPORT = "report.json"
ADVERSARIAL = "adversarial.npz"
VOTE = "vote"
"""What the ensemble's verdict is called in a table whose other rows are members."""

SUITE = ("worst case", "paper")
"""Purposes of attacks that are the suite itself; those of the curve and the checks run on a part of the images."""

Compared = Literal["vote against its best member", "low precision against the full-precision member"]
BEST_MEMBER: Compared = "vote against its best member"
AGAINST_FULL: Compared = "low precision against the full-precision member"

Outcome = Literal["wrong", "broken", "not_broken"]
"""Of an image: wrong before any attack, broken by one, or by none that was tried. Never `robust`."""


class MemberIdentity(Part):
    """A member of the bundle that was attacked, as its manifest has it."""

    name: str
    precision: Precision
    sha256: str
    gradient_sha256: str | None
    parameters: int
    packed_bytes: int
    macs: int


class BundleIdentity(Part):
    """The bundle that was attacked."""

    name: str
    version: str
    recipe: str
    rule: str
    tie_breaker: str | None
    labels: list[str]
    image_shape: list[int] = Field(description="Channels, height, width.")
    members: list[MemberIdentity]


class DrawnImages(Part):
    """The images attacked: the first n of a permutation of the test set drawn from the seed."""

    data_set: str
    sums: dict[str, str] = Field(
        description="Checksums of the files that the test set comes from; of a folder that of their names and sizes."
    )
    pixels_sha256: str | None = Field(
        None, description="Of the images attacked, float32 as they were decoded; null in older reports."
    )
    total: int = Field(description="Images in the test set.")
    n: int
    indices: list[int] = Field(description="In the test set, in the order in which they were drawn.")
    unreadable: dict[str, str] = Field(
        default_factory=dict, description="Images left out because they cannot be read, by name, and why."
    )


class Run(Part):
    """How the report was made."""

    command: str
    created: str
    seconds: float = Field(description="Wall-clock time, all sittings together.")
    attack_seconds: float = Field(description="Time that attacks took, all processes together.")
    workers: int
    chunk: int = Field(description="Images that one process attacks at once.")
    hardware: str
    packages: dict[str, str]
    git_commit: str


class AttackRow(Part):
    """One attack of the suite, in the order in which they ran."""

    name: str
    on: str = Field(description="What it attacks: `vote`, or a member's name, alone.")
    purpose: Literal["worst case", "paper", "curve", "check", "nearest", "claim"] = Field(
        description="`claim`: no attack of the suite, but images that somebody found, entered afterwards."
    )
    threat_model: str
    note: str
    parameters: dict[str, Any]
    attacked: int = Field(description="Images it was run on: all, or in a cascade those that still stood.")
    found: int = Field(description="Of these, adversarial for what it attacks, in the attack's own ball.")
    first: int = Field(description="Images whose verdict no attack before it had turned inside the report's ball.")
    accuracy: Share | None = Field(
        description="Of what it attacks, on its images, over all that it was meant for; null in a cascade, and where "
        "all its images had fallen before."
    )
    standing: Share | None = Field(description="Verdicts right after it and all attacks before it.")
    seconds: float
    queries: int
    gradient_calls: int
    not_finite: int = Field(0, description="Of the gradients, those that were not finite, and counted as 0.")
    warnings: list[str] = Field([], description="Of the library whose attack it is, about what it attacked.")


class MemberRow(Part):
    """One member alone. `robust` counts every adversarial image of the report, whatever it was made on."""

    name: str
    precision: Precision
    clean: Share
    robust: Share
    own: Share | None = Field(
        description="The same, counting only attacks on this member alone; null where the suite has none."
    )
    broken_by: dict[str, int] = Field(description="Images by the attack that turned this member first.")
    zero_gradients: Share | None = Field(
        description="Images at which, or at random in their ball, the margin has a gradient of exactly 0. Reports of "
        "suite version 6 and before looked at the clean ones alone."
    )


class Comparison(Part):
    """Two of the vote and the members, on the same images. Every member in it was attacked alone by the suite."""

    what: Compared | Literal["low precision against its full-precision twin"] = Field(
        description="Reports of suite version 3 and before call the full-precision member a twin, which it need not be."
    )
    first: str
    second: str
    points: float = Field(description="Robust accuracy of the first less that of the second, in percentage points.")
    only_first: int = Field(description="Images that only the first withstood.")
    only_second: int
    p: float | None = Field(
        None, description="McNemar's exact p of so uneven a division by chance; null in reports without it."
    )
    sentence: str


class Transfer(Part):
    """Adversarial images made on one row, judged by one column: the share that fools it, of those it had right."""

    names: list[str] = Field(description="Of rows and columns: `vote`, then the members.")
    fooled: list[list[Share | None]] = Field(description="Null where nothing was found to transfer.")
    counts: Literal["images", "examples"] = Field(
        "examples",
        description="Images, of which one fools a column if any of its adversarial images does; or, up to version 3 of "
        "the suites, adversarial images, several of them of the same image: then the intervals mean nothing.",
    )


class Curve(Part):
    """Accuracy against eps, each eps attacked anew, on the first n images."""

    n: int
    attack: dict[str, str] = Field(description="By series.")
    eps: list[float]
    series: dict[str, list[Share]] = Field(description="Of `vote` and every member, by eps.")


class ClassRow(Part):
    """The images of one class."""

    label: str
    clean: Share
    robust: Share
    becomes: dict[str, int] = Field(description="Verdicts on the adversarial images kept; `none` without one.")


class Sizes(Part):
    """Sizes of the smallest perturbations known, `size` of the images broken, in the report's norm: upper bounds."""

    n: int
    quantiles: dict[str, float] = Field(description="`0.05`, `0.25`, `0.5`, `0.75`, `0.95`; none where none broke.")
    edges: list[float]
    counts: list[int] = Field(description="Images between each edge and the next.")
    searched: bool = Field(
        False, description="Whether eps was bisected for each image, with an attack at every step; up to version 3 no."
    )
    among: int | None = Field(
        None, description="Only the first so many images count: those attacked at every eps of the curve. Null: all."
    )


class ImageRow(Part):
    """One image, in the order of the permutation."""

    index: int = Field(description="In the test set.")
    label: int
    clean_verdict: int = Field(description="Class index; -1 without a verdict.")
    outcome: Outcome
    broken_by: str | None = Field(description="The attack that broke it first; `clean` where it was wrong before.")
    verdict: int | None = Field(description="On the adversarial image kept.")
    size: float | None = Field(
        description="Of the smallest perturbation known, in the report's norm: where the verdict falls on the line to "
        "the image kept, or to one kept before a claim. Where `sizes.searched` is false, nothing was attacked below an "
        "eps of the suite or the curve."
    )
    kept_size: float | None = Field(description="Of the adversarial image kept, as an attack found it.")
    smallest_by: str | None = Field(description="The attack that found it.")
    members_fallen: list[str] | None = Field(
        None, description="Members that were wrong before or that an adversarial image turned; null in older reports."
    )


class PaperRow(Part):
    """One network under the paper's attacks, in per cent: what Sen et al. print, and what was measured here.

    Columns are clean, CW, FGSM, BIM, PGD and the mean of the four attacks.
    """

    what: str
    paper: dict[str, float] | None
    ours: dict[str, Share]
    ours_mean: float


class Paper(Part):
    """The paper's table beside ours."""

    title: str
    columns: list[str]
    rows: list[PaperRow]
    warnings: list[str]


class Check(Part):
    """A check that can fail (Carlini et al., arXiv 1902.06705)."""

    name: str
    passed: bool
    measured: dict[str, Any]
    sentence: str


class Picture(Part):
    """One adversarial image of the gallery, PNG in base64. `perturbation`: grey is no change, magnified."""

    index: int
    label: str
    verdict: str
    attack: str
    size: float
    original: str
    adversarial: str
    perturbation: str


class File(Part):
    """A file that belongs to the report."""

    name: str
    sha256: str
    bytes: int


class Report(Part):
    """`report.json`. Robust accuracy counts over all n images; one that was misclassified before is a failure."""

    schema_version: Literal[1] = 1
    trustworthy: bool = Field(description="Whether every check passed.")
    failed_checks: list[str]
    summary: list[str] = Field(description="Plain sentences: what was found, and what it does not say.")
    suite: str
    suite_version: int = Field(1, description="Attacks and parameters of suites of the same version are the same.")
    norm: str
    eps: float
    seed: int
    tolerance: float = Field(description="By how much float32 rounding may exceed eps.")
    clean: Share = Field(description="Verdicts right on the clean images.")
    robust: Share = Field(description="Verdicts that no attack turned inside the ball: the per-image worst case.")
    confirmed: Share = Field(description="Adversarial images kept that the served graphs judged wrong once more.")
    bundle: BundleIdentity
    images: DrawnImages
    run: Run
    attacks: list[AttackRow]
    members: list[MemberRow]
    comparisons: list[Comparison]
    transfer: Transfer
    curve: Curve
    classes: list[ClassRow]
    sizes: Sizes
    paper: Paper | None
    detection: DetectionReport | None = Field(None, description="Null where it was not measured.")
    overhead: OverheadReport | None = Field(None, description="Null where it was not measured.")
    checks: list[Check]
    per_image: list[ImageRow]
    gallery: list[Picture]
    files: list[File]

    @property
    def claims(self) -> list[AttackRow]:
        """Claims that were entered after the suite had run."""
        return [row for row in self.attacks if row.purpose == "claim"]
