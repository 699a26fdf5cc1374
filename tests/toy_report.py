"""A report made by hand, with something in every section."""

from typing import Any

from robustness.detection.detection_report import AttackerRow, DetectionReport
from robustness.reporting.overhead import MemberCost, OverheadReport, WayCost
from robustness.reporting.report import (
    AttackRow,
    BundleIdentity,
    Check,
    ClassRow,
    Comparison,
    Curve,
    DrawnImages,
    File,
    ImageRow,
    MemberIdentity,
    MemberRow,
    Paper,
    PaperRow,
    Picture,
    Report,
    Run,
    Sizes,
    Transfer,
)
from robustness.reporting.share import Share
from runtime.manifest import Manifest
from tests.toy_bundle import LABELS

HASH = "ab" * 32
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""A picture of one black pixel, PNG in base64."""
N = 8
CLEAN, ROBUST = Share.of(7, N), Share.of(3, N)


def toy_report(manifest: Manifest, **changes: Any) -> Report:
    """Of 8 images: number 0 was wrong before, 1 to 4 were broken, 5 to 7 were not. `changes` replace fields."""
    names = ["vote", *(member.name for member in manifest.members)]
    fields: dict[str, Any] = {
        "trustworthy": True,
        "failed_checks": [],
        "summary": ["Clean accuracy 87.5%.", "Not broken by these attacks is not proven robust."],
        "suite": "adaptive",
        "norm": "linf",
        "eps": 0.25,
        "seed": 4,
        "tolerance": 1e-6,
        "clean": CLEAN,
        "robust": ROBUST,
        "confirmed": Share.of(4, 4),
        "bundle": _bundle(manifest),
        "images": DrawnImages(data_set="images", sums={}, total=24, n=N, indices=list(range(N))),
        "run": _run(),
        "attacks": [_attack("worst case"), _attack("paper"), _attack("curve"), _attack("check")],
        "members": [_member(manifest, index) for index in range(len(manifest.members))],
        "comparisons": [_comparison()],
        "transfer": Transfer(
            names=names, fooled=[[Share.of(3, 4), None, *[Share.of(1, 4)] * (len(names) - 2)]] * len(names)
        ),
        "curve": _curve(names),
        "classes": [
            ClassRow(label=label, clean=CLEAN, robust=ROBUST, becomes={LABELS[0]: 2}) for label in manifest.labels
        ],
        "sizes": Sizes(n=4, quantiles={"0.5": 0.1}, edges=[0, 0.125, 0.25], counts=[3, 1]),
        "paper": _paper(manifest.members[-1].name),
        "detection": _detection(names[1:]),
        "overhead": _overhead(),
        "checks": [Check(name="more steps change little", passed=True, measured={}, sentence="None fell.")],
        "per_image": [_image(index) for index in range(N)],
        "gallery": [_picture(manifest.labels[0], manifest.labels[1])],
        "files": [File(name="adversarial.npz", sha256=HASH, bytes=1234)],
    }
    return Report.model_validate({**fields, **changes})


def _bundle(manifest: Manifest) -> BundleIdentity:
    fields = set(MemberIdentity.model_fields)
    spec = manifest.input
    return BundleIdentity(
        name=manifest.name,
        version=manifest.version,
        recipe="cifar10-empir",
        rule=manifest.vote.rule,
        tie_breaker=manifest.vote.tie_breaker,
        labels=list(manifest.labels),
        image_shape=[spec.channels, spec.height, spec.width],
        members=[MemberIdentity.model_validate(member.model_dump(include=fields)) for member in manifest.members],
    )


def _run() -> Run:
    return Run(
        command="empir evaluate toy --n 8",
        created="2020-02-02T20:20:02+00:00",
        seconds=12.5,
        attack_seconds=11.0,
        workers=1,
        chunk=50,
        hardware="a machine",
        packages={"numpy": "2.0"},
        git_commit="none",
    )


def _attack(purpose: str) -> AttackRow:
    fields = {
        "name": f"{purpose} attack",
        "on": "vote",
        "purpose": purpose,
        "threat_model": "white-box",
        "note": f"note of the {purpose}",
        "parameters": {"steps": 20, "step_size": 0.0123},
        "attacked": N,
        "found": 4,
        "first": 4,
        "accuracy": ROBUST if purpose == "paper" else None,
        "standing": ROBUST,
        "seconds": 1.5,
        "queries": 1234,
        "gradient_calls": 567,
    }
    return AttackRow.model_validate(fields)


def _member(manifest: Manifest, index: int) -> MemberRow:
    member = manifest.members[index]
    return MemberRow(
        name=member.name,
        precision=member.precision,
        clean=CLEAN,
        robust=Share.of(index, N),
        own=ROBUST,
        broken_by={"worst case attack": 4},
        zero_gradients=Share.of(0, N),
    )


def _comparison() -> Comparison:
    return Comparison(
        what="vote against its best member",
        first="vote",
        second="fp32",
        points=0,
        only_first=0,
        only_second=0,
        sentence="vote withstands as much as fp32.",
    )


def _curve(names: list[str]) -> Curve:
    shares = [Share.of(count, N) for count in (8, 6, 3, 0)]
    return Curve(n=N, attack=dict.fromkeys(names, "apgd"), eps=[0, 0.125, 0.25, 1], series=dict.fromkeys(names, shares))


def _paper(member: str) -> Paper:
    ours = {"clean": CLEAN, "cw": Share.of(6, N), "bim": Share.of(5, N)}
    printed = {"clean": 74.54, "cw": 13.38, "bim": 11.97, "mean": 12.68}
    return Paper(
        title="The paper beside ours",
        columns=["clean", "cw", "bim", "mean"],
        rows=[
            PaperRow(what=f"{member} alone", paper=printed, ours=ours, ours_mean=68.75),
            PaperRow(what="ensemble", paper=None, ours=ours, ours_mean=68.75),
        ],
        warnings=["CW and BIM are transfer attacks."],
    )


def _detection(members: list[str]) -> DetectionReport:
    row = AttackerRow(
        attacker="unaware", attacked=7, succeeded=4, auroc=0.9876, detected=Share.of(3, 4), parameters={"steps": 9}
    )
    silent = AttackerRow(
        attacker="vote-aware", attacked=7, succeeded=0, auroc=None, detected=Share.of(0, 0), parameters={}
    )
    return DetectionReport(
        score="jensen_shannon",
        threshold=0.05,
        members=members,
        seed=0,
        clean_false_alarms=Share.of(1, N),
        attackers=[row, silent],
    )


def _overhead() -> OverheadReport:
    member = MemberCost(name="fp32", precision="fp32", file_bytes=2_839_000, macs=8_590_000, bit_operations=None)
    cpu = WayCost(
        images="clean", what="quorum", n=20, rounds=5, median_us=208.7, lowest_us=200, highest_us=220, over_fp32=0.84
    )
    return OverheadReport(members=[member], stored_over_fp32=0.77, bit_operations_over_fp32=-0.125, cpu=[cpu])


def _image(index: int) -> ImageRow:
    broken = 1 <= index <= 4
    return ImageRow.model_validate(
        {
            "index": index,
            "label": 0,
            "clean_verdict": 0 if index else 1,
            "outcome": "broken" if broken else "not_broken" if index else "wrong",
            "broken_by": "worst case attack" if broken else None if index else "clean",
            "verdict": 1 if broken else None,
            "size": 0.05 * index if broken else None,
            "kept_size": 0.05 * index if broken else None,
            "smallest_by": "worst case attack" if broken else None,
        }
    )


def _picture(label: str, verdict: str) -> Picture:
    return Picture(
        index=1,
        label=label,
        verdict=verdict,
        attack="worst case attack",
        size=0.05,
        original=DOT,
        adversarial=DOT,
        perturbation=DOT,
    )
