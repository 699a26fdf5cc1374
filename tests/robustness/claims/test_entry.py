"""`empir check BUNDLE FILE.npz --enter`: the report is what the suite would have left, had it found those images."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from robustness.attacks.registry import Settings
from robustness.claims import entry
from robustness.claims.check_cli import main
from robustness.evaluation.crew import Alone
from robustness.evaluation.evaluate import Plan, evaluate
from robustness.evaluation.image_sets import draw, open_images
from robustness.evaluation.journal import Journal
from robustness.evaluation.steps import CLEAN, Step
from robustness.evaluation.worker import Outcome, Task, judge, run_step
from robustness.norms import NORMS
from robustness.reporting.assemble import Sitting, write_report
from robustness.reporting.older import told_now
from robustness.reporting.report import ADVERSARIAL, REPORT, VOTE, Report
from robustness.reporting.report_html import PAGE, page, read_report
from robustness.victim import Victim
from runtime.bundle import load_bundle
from service.bundle_report import BundleReport
from tests.toy_bundle import ToyBundle, rewrite
from tests.toys import Array

EPS, WEAK, N = 0.5, 0.08, 16
CLAIM = "claim: claim.npz"
STEPS = [
    Step(CLEAN, Settings("linf", EPS), cascade=False),
    *(Step("fgsm-mean_margin", Settings("linf", WEAK), on=on) for on in (VOTE, "w2a4-a", "w2a4-b", "fp32")),
]
FOUND = Step("fgsm-mean_margin", Settings("linf", EPS), label=CLAIM, cascade=False, purpose="check")
COUNTED = ("clean", "robust", "confirmed", "members", "classes", "comparisons", "curve")


@dataclass(frozen=True)
class Case:
    """A bundle with the report of a weak suite, adversarial images that it has not found [K], of which test images."""

    bundle: Path
    test_set: Path
    report: Report
    images: Array
    indices: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"
    labels: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"

    def claim(self, chosen: slice = slice(None), **changes: Any) -> Path:
        path = self.test_set.with_name("claim.npz")
        arrays: dict[str, Any] = {"images": self.images, "labels": self.labels, "indices": self.indices}
        np.savez(path, **{**{name: array[chosen] for name, array in arrays.items()}, **changes})
        return path

    def enter(self, file: Path, *options: str) -> Result:
        where = ("--bundles", str(self.bundle.parent), "--images", str(self.test_set))
        return CliRunner().invoke(main, ["check", self.bundle.name, str(file), *where, "--enter", *options])

    def now(self) -> Report:
        return read_report(self.bundle / REPORT)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.bundle.iterdir()}


@pytest.fixture
def plan(toy: ToyBundle, tmp_path: Path) -> Plan:
    np.savez(path := tmp_path / "quadrants.npz", images=toy.images, labels=toy.classes)
    drawn = draw(open_images(path, toy.manifest), N, seed=1)
    return Plan(toy.manifest, "adaptive", "linf", EPS, 0, STEPS, drawn, chunk=N)


@pytest.fixture
def case(toy_copy: Path, victim: Victim, plan: Plan, tmp_path: Path) -> Case:
    """The claim: of each image one on the way to another class's, where that turns the vote, and where the suite had
    found one, another a little nearer than that.
    """
    ledgers = evaluate(plan, Journal(tmp_path / "work", plan.fingerprint()), Alone(lambda task: run_step(victim, task)))
    report = write_report(plan, ledgers, victim, Sitting("empir evaluate toy", 1.0, 1), toy_copy)
    rewrite(toy_copy, report=REPORT)
    drawn = plan.drawn
    other = np.array([int(np.flatnonzero(drawn.labels != label)[0]) for label in drawn.labels])
    share = np.linspace(0.2, 0.66, N, dtype=np.float32).reshape(-1, 1, 1, 1)
    part = drawn.images + share * (drawn.images[other] - drawn.images)
    broken = np.flatnonzero([row.outcome == "broken" for row in report.per_image])
    way = (ledgers[0].smallest - drawn.images)[broken]
    nearer = drawn.images[broken] + np.float32(0.98) * way
    images = np.concatenate([part, nearer])
    indices, labels = (np.concatenate([each, each[broken]]) for each in (drawn.indices, drawn.labels))
    wrong = judge(victim, images).wrong(labels)[0]
    return Case(toy_copy, tmp_path / "quadrants.npz", report, images[wrong], indices[wrong], labels[wrong])


def arrays(folder: Path) -> dict[str, Any]:
    with np.load(folder / ADVERSARIAL) as saved:
        return dict(saved)


def as_if_found(case: Case, plan: Plan, victim: Victim, folder: Path) -> Report:
    """The report of the same suite with a last attack that finds the claim's images."""
    place = {int(index): row for row, index in enumerate(plan.drawn.indices)}
    sources = np.array([place[int(index)] for index in case.indices])

    def work(task: Task) -> Outcome:
        if task.step.label != CLAIM:
            return run_step(victim, task)
        return Outcome(sources, case.images, judge(victim, case.images))

    whole = replace(plan, steps=[*STEPS, FOUND])
    ledgers = evaluate(whole, Journal(folder / "work", whole.fingerprint()), Alone(work))
    return write_report(whole, ledgers, victim, Sitting("empir evaluate toy", 1.0, 1), folder / "out")


def test_the_report_is_as_if_the_suite_had_found_the_images(
    case: Case, plan: Plan, victim: Victim, tmp_path: Path
) -> None:
    expected = as_if_found(case, plan, victim, tmp_path / "whole")
    result = case.enter(case.claim())
    assert result.exit_code == 0, result.output
    found = case.now()
    fallen = case.report.robust.count - found.robust.count
    nearer = sum(row.smallest_by == CLAIM for row in found.per_image) - fallen
    assert found.robust.count > 0 and fallen > 0 and nearer > 0
    for field in COUNTED:
        assert getattr(found, field) == getattr(expected, field), field
    # The suite would have looked at the line to its last image alone; what an earlier line showed stays known.
    for row, other, before in zip(found.per_image, expected.per_image, case.report.per_image, strict=True):
        sizes = [size for size in (other.size, before.size) if size is not None]
        assert row == other.model_copy(update={"size": min(sizes, default=None)})
    assert (found.sizes.n, found.sizes.edges) == (expected.sizes.n, expected.sizes.edges)
    assert sum(found.sizes.counts) == found.sizes.n == len([row for row in found.per_image if row.size is not None])
    kept, wanted = arrays(case.bundle), arrays(tmp_path / "whole" / "out")
    assert kept.keys() == wanted.keys()
    for name in kept:
        np.testing.assert_array_equal(kept[name], wanted[name], name)


def test_the_report_agrees_with_itself_and_says_what_happened(case: Case, toy: ToyBundle) -> None:
    file = case.claim()
    result = case.enter(file)
    report, before = case.now(), case.report.robust
    *_, falls, said = result.stdout.splitlines()
    lost = before.count - report.robust.count
    assert f"falls from {before.share:.1%} to {report.robust.share:.1%}: {lost} test images" in falls
    assert said.startswith(f"entered in the report of toy: {lost} test images fall, ")
    (row,) = report.claims
    assert (row.name, row.first, row.standing) == (CLAIM, lost, report.robust)
    assert row.parameters == {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    (sentence,) = (each for each in report.summary if each.startswith("No attack of the suite"))
    assert sentence.startswith("No attack of the suite adaptive, and no claim entered since, turned the verdict within")
    assert f"on {report.robust.share:.1%} of {N} images" in sentence
    counted = f"Claims entered since turned {lost} images that had withstood the suite (claim.npz: {lost})."
    assert counted in report.summary
    text = (case.bundle / PAGE).read_text(encoding="utf-8")
    assert text == page(report) and told_now(report) == report
    assert "Claims entered" in text and f"{report.robust.count} of {N} test images" in text
    (archive,) = report.files
    assert archive.sha256 == hashlib.sha256((case.bundle / ADVERSARIAL).read_bytes()).hexdigest()
    served = BundleReport.load(case.bundle, load_bundle(case.bundle).manifest)
    assert served is not None and served.document == (case.bundle / REPORT).read_bytes()


def test_a_second_time_changes_nothing(case: Case) -> None:
    file = case.claim()
    case.enter(file)
    once = case.files()
    again = case.enter(file)
    assert again.exit_code == 0 and case.files() == once
    assert again.stdout.splitlines()[-1].startswith("nothing is entered: the report knows as much")
    assert f"stays at {case.now().robust.share:.1%}" in again.stdout
    assert json.loads(case.enter(file, "--json").stdout)["entered"] == {"fallen": 0, "nearer": 0, "members": 0}


def test_two_claims_of_one_name_are_two_rows_and_leave_what_one_of_both_leaves(case: Case) -> None:
    before = case.files()
    case.enter(case.claim())
    together = case.now()
    for name, data in before.items():
        (case.bundle / name).write_bytes(data)
    for chosen in (slice(None, None, 2), slice(1, None, 2)):
        assert case.enter(case.claim(chosen)).exit_code == 0
    apart = case.now()
    assert [row.name for row in apart.claims] == [CLAIM, f"{CLAIM}, 2"]
    assert (apart.robust, apart.sizes, apart.classes) == (together.robust, together.sizes, together.classes)
    assert [row.robust for row in apart.members] == [row.robust for row in together.members]
    assert sum(row.first for row in apart.claims) == together.claims[0].first


def test_only_what_holds_is_entered(case: Case, plan: Plan) -> None:
    images = case.images.copy()
    images[0] = plan.drawn.images[plan.drawn.indices == case.indices[0]][0]
    images[1, 0, 0, 0] = 1.5
    assert case.enter(case.claim(images=images)).exit_code == 1
    kept = {row.index for row in case.now().per_image if row.smallest_by == CLAIM}
    assert kept and not kept & set(case.indices[:2].tolist()) - set(case.indices[2:].tolist())
    saved = arrays(case.bundle)
    place = {int(index): row for row, index in enumerate(plan.drawn.indices)}
    clean = plan.drawn.images[[place[int(index)] for index in saved["indices"]]]
    assert NORMS["linf"].size(saved["images"] - clean).max() <= EPS + 1e-6


def test_a_report_that_does_not_say_which_images_members_withstood_keeps_their_figures_and_says_so(case: Case) -> None:
    rows = [row.model_copy(update={"members_fallen": None}) for row in case.report.per_image]
    (case.bundle / REPORT).write_text(case.report.model_copy(update={"per_image": rows}).model_dump_json())
    case.enter(case.claim())
    report = case.now()
    assert report.robust.count < case.report.robust.count
    assert report.members == case.report.members
    assert all(VOTE not in (each.first, each.second) for each in report.comparisons)
    assert any(each.startswith("Members' own figures leave claims out") for each in report.summary)


def test_nothing_is_half_written(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    before = case.files()

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(entry, "page", full)
    assert case.enter(case.claim()).exit_code == 1
    assert case.files() == before


def test_a_break_between_the_files_is_mended_by_the_same_command(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = case.files()
    case.enter(case.claim())
    expected = case.now()
    for name in (REPORT, PAGE):
        (case.bundle / name).write_bytes(whole[name])
    case.enter(case.claim())
    assert case.now() == expected


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda case: rewrite(case.bundle, report=None),
            "toy: expected a bundle with a report to enter the claim in, it has none; `empir evaluate toy --attach`",
        ),
        (
            lambda case: np.savez(case.test_set, images=np.zeros((N, 1, 8, 8), np.uint8), labels=np.zeros(N, int)),
            "toy: expected the test images of the bundle's report, quadrants with its checksums and pixels, got",
        ),
        (
            lambda case: (case.bundle / REPORT).write_text(
                case.report.model_copy(update={"eps": 0.001}).model_dump_json()
            ),
            "expected misclassified images within L∞ 0.001 of the 16 test images of the bundle's report, got none",
        ),
        (
            lambda case: np.savez(
                case.bundle / ADVERSARIAL, images=case.images[:1], labels=case.labels[:1], indices=case.indices[:1]
            ),
            f"{ADVERSARIAL}: expected an adversarial image of test image",
        ),
    ],
    ids=["no report", "other images", "outside the ball", "images missing"],
)
def test_what_cannot_be_entered_is_refused(case: Case, spoil: Any, says: str) -> None:
    spoil(case)
    before = case.files()
    result = case.enter(case.claim(), "--eps", "0.5")
    assert result.exit_code == 1 and says in result.stderr and result.stdout == ""
    assert case.files() == before


def test_without_a_file_there_is_nothing_to_enter(toy: ToyBundle) -> None:
    result = CliRunner().invoke(main, ["check", "toy", "--bundles", str(toy.folder.parent), "--enter"])
    assert result.exit_code == 2 and "--enter: expected FILE" in result.stderr
