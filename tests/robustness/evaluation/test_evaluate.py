"""An evaluation: who is attacked by what, what counts, and that interruptions change nothing."""

import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustness.evaluation.crew import Alone
from robustness.evaluation.evaluate import WorkerDied, evaluate
from robustness.evaluation.findings import Findings
from robustness.evaluation.image_sets import Drawn
from robustness.evaluation.journal import Journal, OtherRun
from robustness.evaluation.ledger import STANDS, Ledger
from robustness.evaluation.steps import CLEAN, MOST_STARTS, Step, starts_of
from robustness.evaluation.worker import Judged, Outcome, Task, run_step
from robustness.victim import Victim
from tests.linear_victim import AVERAGE, NAMES, linear_victim, planted_victim
from tests.robustness.evaluations import EPS, SETTINGS, STEPS, grey, plan, run
from tests.toys import Array


@pytest.fixture
def planted() -> Iterator[Victim]:
    victim = planted_victim()
    yield victim
    victim.close()


def found(ledgers: list[Ledger]) -> dict[str, list[object]]:
    """All that ledgers say, but for the time that it took."""
    said: dict[str, list[object]] = {}
    for ledger in ledgers:
        for name in ("broken_by", "broken_alone_by", "size", "smallest", "verdict", "smallest_by", "fooled", "shown"):
            said.setdefault(name, []).append(getattr(ledger, name).tolist())
        for row in ledger.rows:
            flags = [row.given.tolist(), row.found.tolist(), row.right.tolist()]
            said.setdefault("rows", []).append((flags, row.cost.queries, row.cost.gradient_calls))
    return said


def test_a_cascade_attacks_only_what_still_stands(planted: Victim, tmp_path: Path) -> None:
    what = plan(grey(4, wrong=[1]))
    findings = Findings.of(what, run(planted, tmp_path, what))
    clean, one_step, joint, alone = (row.given.tolist() for row in findings.rows)
    assert clean == [True] * 4
    assert one_step == [True, False, True, True]  # the mislabelled image is no longer asked
    fell = findings.rows[1].found
    assert joint == (np.array(one_step) & ~fell).tolist()
    assert findings.rows[2].found.tolist() == joint  # the joint attack breaks what one step does not
    # low-a is spared what attacks on low-a have found, not what turned it on the way to the vote
    assert alone == [True, False, True, True]


def test_the_worst_case_counts_over_all_images(planted: Victim, tmp_path: Path) -> None:
    what = plan(grey(4, wrong=[1]), STEPS[:1])
    clean_only = Findings.of(what, run(planted, tmp_path / "a", what))
    assert (clean_only.clean().count, clean_only.robust().count, clean_only.robust().n) == (3, 3, 4)
    what = plan(grey(4, wrong=[1]))
    attacked = Findings.of(what, run(planted, tmp_path / "b", what))
    assert attacked.robust().count == 0
    assert [attacked.outcome(image) for image in range(4)] == ["broken", "wrong", "broken", "broken"]
    assert attacked.kept.tolist() == [0, 2, 3]
    assert attacked.robust("fp32").count == 3  # the full-precision member is cat whatever happens
    assert (attacked.size[attacked.kept] <= EPS + 1e-6).all()


def test_every_adversarial_image_counts_for_whomever_it_turns(planted: Victim, tmp_path: Path) -> None:
    what = plan(grey(2), [STEPS[0], STEPS[3]])
    findings = Findings.of(what, run(planted, tmp_path, what))
    assert findings.robust("low-a").count == 0 and findings.robust().count == 2
    low_a = findings.targets.index("low-a")
    assert findings.shown[low_a].tolist() == [2, 2, 2, 2]
    assert findings.fooled[low_a].tolist() == [0, 2, 0, 0]


def test_an_interruption_changes_nothing_and_loses_one_step(planted: Victim, tmp_path: Path) -> None:
    what = plan(grey(5, wrong=[1]))
    ran: list[str] = []

    def killed(victim: Victim, task: Task) -> Outcome:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(task.step.name)
        return run_step(victim, task)

    with pytest.raises(KeyboardInterrupt):
        run(planted, tmp_path / "cut", what, killed)
    assert ran == [CLEAN, "fgsm-mean_margin", "apgd-joint_margin"]
    again: list[str] = []

    def counted(victim: Victim, task: Task) -> Outcome:
        again.append(task.step.name)
        return run_step(victim, task)

    resumed = run(planted, tmp_path / "cut", what, counted)
    assert found(resumed) == found(run(planted, tmp_path / "whole", what))
    assert again[0] == "apgd-mean_margin on low-a"
    assert run(planted, tmp_path / "cut", what, killed)  # all is there: nothing runs


def test_what_is_half_written_has_not_run(planted: Victim, tmp_path: Path) -> None:
    what = plan(grey(2))
    whole = found(run(planted, tmp_path, what))
    (tmp_path / "chunk-0000" / "step-002.npz").rename(tmp_path / "chunk-0000" / ".step-002.npz.123")
    assert found(run(planted, tmp_path, what)) == whole


@pytest.mark.parametrize("file", ["plan.json", "seconds.json", "chunk-0000/step-002.json", "chunk-0000/step-002.npz"])
@pytest.mark.parametrize("left", [0, 30])
def test_what_a_power_cut_tore_has_not_run(planted: Victim, tmp_path: Path, file: str, left: int) -> None:
    what = plan(grey(2))
    whole = found(run(planted, tmp_path, what))
    Journal(tmp_path, what.fingerprint()).tick(1)
    torn = (tmp_path / file).read_bytes()[:left]
    (tmp_path / file).write_bytes(torn)
    assert found(run(planted, tmp_path, what)) == whole


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"eps": 0.2}, "eps is 0.1 there, 0.2 asked for"), ({"seed": 3}, "seed is 0 there, 3 asked for")],
    ids=["eps", "seed"],
)
def test_a_folder_of_another_evaluation_is_refused(
    planted: Victim, tmp_path: Path, changed: dict[str, float], says: str
) -> None:
    what = plan(grey(2))
    run(planted, tmp_path, what)
    with pytest.raises(OtherRun, match=says):
        run(planted, tmp_path, replace(what, **changed))  # type: ignore[arg-type]
    version = what.manifest.model_copy(update={"version": "2"})
    with pytest.raises(OtherRun, match='version is "1" there, "2" asked for'):
        run(planted, tmp_path, replace(what, manifest=version))
    average = what.manifest.model_copy(update={"vote": AVERAGE})
    with pytest.raises(OtherRun, match=r'vote\.rule is "majority" there, "average" asked for'):
        run(planted, tmp_path, replace(what, manifest=average))
    with pytest.raises(OtherRun, match="steps is"):
        run(planted, tmp_path, replace(what, steps=STEPS[:2]))
    longer = replace(STEPS[2], settings=replace(SETTINGS, steps=9))
    with pytest.raises(OtherRun, match=r"steps\[2\].parameters.steps is 5 there, 9 asked for"):
        run(planted, tmp_path, replace(what, steps=[*STEPS[:2], longer, STEPS[3]]))


def test_what_asks_for_verdicts_alone_starts_from_images_of_other_classes(tmp_path: Path) -> None:
    """Dog is where the first quarter is 0.9 brighter than the second, which no noise is; one of three images is."""
    victim = linear_victim([[(0, 10, 0), (0, -10, 0), (0, 0, 0), (0, 0, 0)]] * 3, [(9, 0, 0)] * 3)
    images = np.full((3, 1, 8, 8), 0.5, np.float32)
    images[:, :, :2], images[:, :, 2:4] = 0.9, 0.1
    images[2, :, :2], images[2, :, 2:4] = 1, 0
    drawn = Drawn("toys", {}, 3, np.arange(3), images, np.array([0, 0, 1]))
    what = plan(drawn, [STEPS[0], Step("hopskipjump", SETTINGS)], chunk=1)
    asks = replace(what.steps[1], settings=replace(SETTINGS, steps=500))
    row = Findings.of(what, run(victim, tmp_path, replace(what, steps=[STEPS[0], asks]))).rows[1]
    assert row.found.tolist() == [True] * 3
    victim.close()


def test_images_to_start_from_are_one_of_each_class_and_not_too_many() -> None:
    images, labels = np.arange(200, dtype=np.float32).reshape(200, 1, 1, 1), np.zeros(200, dtype=np.int64)
    labels[[150, 170, 199]] = 1, 2, 1
    starts = starts_of(Step("hopskipjump", SETTINGS), images, labels)
    assert starts is not None and starts.ravel().tolist() == [0, 150, 170, *range(1, MOST_STARTS - 2)]
    assert starts_of(STEPS[1], images, labels) is None


def test_time_is_counted_over_all_sittings(tmp_path: Path) -> None:
    assert Journal(tmp_path, {}).tick(5) == 5
    assert Journal(tmp_path, {}).tick(2) == 7
    assert json.loads((tmp_path / "seconds.json").read_text()) == 7


def test_what_has_run_is_told_and_adds_up(planted: Victim, tmp_path: Path) -> None:
    what, told = plan(grey(5)), []
    crew = Alone(lambda task: run_step(planted, task))
    evaluate(what, Journal(tmp_path, what.fingerprint()), crew, lambda name, share: told.append(share))
    assert sum(told) == pytest.approx(1)


def ledger(images: Array) -> Ledger:
    entered = Ledger(images, np.zeros(len(images), dtype=np.int64), NAMES, "linf", EPS)
    none = np.zeros((3, len(images)), dtype=np.int64)
    clean = Judged(none[0], none, np.zeros(len(images), dtype=bool))
    everything = np.arange(len(images))
    entered.enter(STEPS[0], everything, Outcome(everything, images, clean))
    return entered


@pytest.mark.parametrize(
    ("pixel", "verdict", "degraded", "falls"),
    [
        (0.6, 1, False, True),
        (0.6, -1, False, True),
        (0.6, 0, True, True),
        (0.6, 0, False, False),
        (0.7, 1, False, False),
        (np.nan, 1, False, False),
    ],
    ids=["wrong", "abstaining", "degraded", "right", "outside the ball", "not a number"],
)
def test_what_counts_as_a_success(pixel: float, verdict: int, degraded: bool, falls: bool) -> None:
    entered = ledger(np.full((1, 1, 8, 8), 0.5, np.float32))
    votes = np.full((3, 1), verdict)
    judged = Judged(np.array([verdict]), votes, np.array([degraded]))
    outcome = Outcome(np.array([0]), np.full((1, 1, 8, 8), pixel, np.float32), judged)
    entered.enter(Step("square", SETTINGS), np.array([0]), outcome)
    assert (entered.broken_by[0, 0] != STANDS) == falls
    assert entered.shown[0, 0] == entered.fooled[0, 0] == falls


@pytest.mark.parametrize(
    ("step", "counts"),
    [
        (Step("square", SETTINGS), True),
        (Step("square", SETTINGS, on=NAMES[0]), True),
        (Step("empir-2020-bim", SETTINGS, on=NAMES[0], purpose="paper"), True),
        (Step("empir-2020-bim", SETTINGS, purpose="paper"), False),
        (Step("square", SETTINGS, on=NAMES[0], purpose="curve"), False),
        (Step("square", SETTINGS, purpose="check"), False),
    ],
    ids=["on the vote", "on a member", "the paper's, on a member", "the paper's, on the vote", "curve", "check"],
)
def test_what_the_transfer_matrix_is_made_of(step: Step, counts: bool) -> None:
    """Of the paper's attacks those on a member: the others follow one member's gradient, not the vote's."""
    entered = ledger(np.full((1, 1, 8, 8), 0.5, np.float32))
    judged = Judged(np.array([1]), np.ones((3, 1), dtype=np.int64), np.array([False]))
    outcome = Outcome(np.array([0]), np.full((1, 1, 8, 8), 0.6, np.float32), judged)
    entered.enter(step, np.array([0]), outcome)
    row = entered.targets.index(step.on)
    assert entered.shown.sum() == entered.shown[row].sum() == len(entered.targets) * counts


def test_an_image_transfers_once_however_many_attacks_made_it() -> None:
    """Two examples of the one image, of which only the second fools low-b, and one that low-a had wrong before."""
    entered = ledger(np.full((2, 1, 8, 8), 0.5, np.float32))
    entered.wrong_clean[1, 1] = True
    for low_b in (0, 1, 0):
        votes = np.array([[1, 1], [low_b, 0], [1, 0]])
        judged = Judged(np.array([1, 1]), votes, np.array([False, False]))
        outcome = Outcome(np.arange(2), np.full((2, 1, 8, 8), 0.6, np.float32), judged)
        entered.enter(Step("square", SETTINGS), np.arange(2), outcome)
    assert entered.shown[0].tolist() == [2, 1, 2, 2]
    assert entered.fooled[0].tolist() == [2, 1, 1, 1]


def test_an_image_outside_0_to_1_is_no_success() -> None:
    entered = ledger(np.full((1, 1, 8, 8), 0.95, np.float32))
    judged = Judged(np.array([1]), np.ones((3, 1), dtype=np.int64), np.array([False]))
    outcome = Outcome(np.array([0]), np.full((1, 1, 8, 8), 1.04, np.float32), judged)
    entered.enter(Step("square", SETTINGS), np.array([0]), outcome)
    assert entered.broken_by[0, 0] == STANDS and entered.size[0] == np.inf


def test_the_smallest_image_is_kept_whoever_found_it() -> None:
    entered = ledger(np.full((1, 1, 8, 8), 0.5, np.float32))
    judged = Judged(np.array([1]), np.ones((3, 1), dtype=np.int64), np.array([False]))
    for pixel in (0.58, 0.53, 0.55, 0.9):
        outcome = Outcome(np.array([0]), np.full((1, 1, 8, 8), pixel, np.float32), judged)
        entered.enter(Step("square", SETTINGS, cascade=False), np.array([0]), outcome)
    assert entered.size[0] == pytest.approx(0.03) and entered.smallest_by[0] == 2
    assert entered.broken_by[0, 0] == 1


class Gone(Exception):
    """What is raised for a worker that is no more."""


class Dying(Alone):
    """Its worker ends in the third step."""

    died: tuple[type[Exception], ...] = (Gone,)

    def submit(self, task: Task) -> "Future[Outcome]":
        if task.step.name != "apgd-joint_margin":
            return super().submit(task)
        future: Future[Outcome] = Future()
        future.set_exception(Gone())
        return future


def test_a_worker_that_died_is_said_and_what_it_had_found_stays(planted: Victim, tmp_path: Path) -> None:
    what = plan(grey(2))
    with pytest.raises(WorkerDied, match=r"^a worker died; .* The same command goes on$"):
        evaluate(what, Journal(tmp_path, what.fingerprint()), Dying(lambda task: run_step(planted, task)))
    assert {path.name for path in (tmp_path / "chunk-0000").glob("*.npz")} == {"step-000.npz", "step-001.npz"}
