"""The detector under attack, by three attackers, on a toy bundle and on linear victims; and what a probe says of it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from robustness.attacks.climb import Schedule
from robustness.detection.attackers import DetectorUnderAttack
from robustness.detection.auroc import auroc
from robustness.detection.detection_report import DetectionReport
from robustness.parameters import AttackParameters
from robustness.probe import probe
from robustness.victim import Victim
from runtime.bundle import load_bundle
from runtime.detection import Scorer
from runtime.errors import InvalidValue
from runtime.manifest import Detection, Manifest, ScoreName
from runtime.prediction import Prediction
from tests.linear_victim import LINEAR_MANIFEST, NAMES, linear_victim
from tests.toy_bundle import ToyBundle
from tests.toys import Array

GREY = np.full((2, 1, 8, 8), 0.5, np.float32)
CATS = np.zeros(2, np.int64)
SCHEDULE = Schedule("linf", 0.1, 20, 0.02, random_start=False)


def detecting(manifest: Manifest, threshold: float, score: ScoreName = "jensen_shannon") -> Manifest:
    names = tuple(member.name for member in manifest.members)
    return manifest.model_copy(update={"detection": Detection(score=score, threshold=threshold, members=names)})


@pytest.fixture
def apart() -> Iterator[Victim]:
    """All vote cat for a grey image. Brighter upper quarters make a dog for the full-precision member, which alone is
    no majority; the low-precision members become dog where the lower quarters are brighter, independently of it."""
    nothing, dog = (0, 0, 0), (0, 100, 0)
    low, full = [nothing, nothing, dog, dog], [dog, dog, nothing, nothing]
    victim = linear_victim([low, low, full], [(5, 0, 0)] * 3)
    yield victim
    victim.close()


def test_the_unaware_attack_turns_its_member_and_not_the_vote(apart: Victim) -> None:
    attack = DetectorUnderAttack.of(apart, detecting(LINEAR_MANIFEST, 0.2), SCHEDULE)
    turned = attack.unaware(GREY, CATS, np.random.default_rng(0))
    assert turned.source.tolist() == []
    assert apart.spent.gradient_calls == 20 * 2  # of the full-precision member alone, at every step


def test_who_knows_the_vote_is_seen_and_who_knows_the_detector_is_not(apart: Victim) -> None:
    """The vote falls as soon as two members do: then the third differs. All three together agree again."""
    attack = DetectorUnderAttack.of(apart, detecting(LINEAR_MANIFEST, 0.05), SCHEDULE)
    aware, found = attack.vote_aware(GREY, CATS, np.random.default_rng(0))
    assert aware.source.tolist() == [0, 1] == list(found)
    expected = Scorer.of(LINEAR_MANIFEST, "jensen_shannon", NAMES)(apart.predict(np.stack(list(found.values()))))
    np.testing.assert_array_equal(aware.scores, expected)
    hidden = attack.detector_aware(GREY, CATS, found)
    assert hidden.source.tolist() == [0, 1]
    assert (hidden.scores <= 0.05).all() and (hidden.scores <= aware.scores).all()


def test_lambda_is_what_hides(toy: ToyBundle, victim: Victim) -> None:
    """Without the score in the loss, the lowest score met on the way is higher."""
    schedule = Schedule("linf", 0.15, 10, 0.02, random_start=False)
    images, classes = toy.images, toy.classes
    attack = DetectorUnderAttack.of(victim, detecting(toy.manifest, 0.01), schedule, lambdas=(0.0,))
    _, found = attack.vote_aware(images, classes, np.random.default_rng(0))
    careless = attack.detector_aware(images, classes, found)
    careful = replace(attack, lambdas=(0.0, 1.0, 3.0)).detector_aware(images, classes, found)
    assert len(found) > 3
    assert (careful.scores <= careless.scores).all() and careful.scores.sum() < careless.scores.sum()


def test_only_iterates_that_turn_the_vote_count(
    toy: ToyBundle, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So large a lambda gives the vote up to agree again."""
    schedule = Schedule("linf", 0.15, 10, 0.02, random_start=False)
    attack = DetectorUnderAttack.of(victim, detecting(toy.manifest, 0.01), schedule, lambdas=(100.0,))
    _, found = attack.vote_aware(toy.images, toy.classes, np.random.default_rng(0))
    seen: list[Prediction] = []
    predict = victim.predict

    def noted(images: Array) -> Prediction:
        seen.append(predict(images))
        return seen[-1]

    monkeypatch.setattr(victim, "predict", noted)
    hidden = attack.detector_aware(toy.images, toy.classes, found)
    labels, score = toy.classes[hidden.source], Scorer.of(toy.manifest, "jensen_shannon", attack.detection.members)
    scores = np.array([score(prediction) for prediction in seen])
    turned = np.array([prediction.verdict != labels for prediction in seen])
    assert (scores.min(axis=0) < hidden.scores).any()
    np.testing.assert_array_equal(hidden.scores, np.where(turned, scores, np.inf).min(axis=0))


@pytest.fixture(scope="module")
def reports(toy: ToyBundle) -> Iterator[dict[str, DetectionReport]]:
    """Of the toy bundle, by score."""
    victim = Victim.of_bundle(load_bundle(toy.folder, gradients=True))
    schedule = Schedule("linf", 0.15, 10, 0.02, random_start=True)
    scores: tuple[ScoreName, ...] = ("jensen_shannon", "margin_gap")
    yield {
        score: DetectorUnderAttack.of(victim, detecting(toy.manifest, 0.02, score), schedule).report(
            toy.images, np.where(np.arange(24) == 5, 3, toy.classes), seed=1
        )
        for score in scores
    }
    victim.close()


def test_the_report_counts_only_right_images_that_turned(toy: ToyBundle, reports: dict[str, DetectionReport]) -> None:
    for score, report in reports.items():
        assert (report.score, report.threshold, report.members) == (score, 0.02, ["w2a4-a", "w2a4-b", "fp32"])
        assert [row.attacker for row in report.attackers] == ["unaware", "vote-aware", "detector-aware"]
        assert report.clean_false_alarms.n == 24
        for row in report.attackers:
            assert row.attacked == 23 and 0 < row.succeeded <= 23  # one label is wrong
            assert row.detected.n == row.succeeded and row.auroc is not None and 0 <= row.auroc <= 1
            assert (row.parameters["eps"], row.parameters["steps"]) == (0.15, 10)
        unaware, aware, hidden = report.attackers
        assert aware.succeeded == hidden.succeeded >= unaware.succeeded
        assert hidden.detected.count <= aware.detected.count
        assert hidden.auroc is not None and aware.auroc is not None and hidden.auroc <= aware.auroc


def test_a_report_is_repeatable_and_survives_json(
    toy: ToyBundle, victim: Victim, reports: dict[str, DetectionReport]
) -> None:
    schedule = Schedule("linf", 0.15, 10, 0.02, random_start=True)
    attack = DetectorUnderAttack.of(victim, detecting(toy.manifest, 0.02), schedule)
    again = attack.report(toy.images, np.where(np.arange(24) == 5, 3, toy.classes), seed=1)
    assert again == reports["jensen_shannon"]
    assert DetectionReport.model_validate_json(again.model_dump_json()) == again


def test_the_rows_are_those_of_the_attacks(toy: ToyBundle, victim: Victim) -> None:
    """Scores of the unaware attack's images, against the clean ones'."""
    schedule = Schedule("linf", 0.15, 10, 0.02, random_start=False)
    manifest = detecting(toy.manifest, 0.02)
    attack = DetectorUnderAttack.of(victim, manifest, schedule)
    row = attack.report(toy.images, toy.classes).attackers[0]
    scorer = Scorer.of(manifest, "jensen_shannon", ("w2a4-a", "w2a4-b", "fp32"))
    turned = attack.unaware(toy.images, toy.classes, np.random.default_rng(0))
    clean = scorer(victim.predict(toy.images))
    assert row.succeeded == len(turned.source)
    assert row.auroc == pytest.approx(auroc(turned.scores, clean), abs=1e-6)
    assert row.detected.count == (turned.scores > 0.02).sum()


def test_nothing_turned_has_no_area(apart: Victim) -> None:
    schedule = Schedule("linf", 1e-4, 2, 1e-4, random_start=False)
    report = DetectorUnderAttack.of(apart, detecting(LINEAR_MANIFEST, 0.2), schedule).report(GREY, CATS)
    assert [(row.succeeded, row.auroc) for row in report.attackers] == [(0, None)] * 3


def test_what_cannot_be_attacked_is_refused(apart: Victim) -> None:
    with pytest.raises(InvalidValue, match="expected a bundle with a detection threshold; `empir threshold` adds it"):
        DetectorUnderAttack.of(apart, LINEAR_MANIFEST, SCHEDULE)
    blind = Victim(apart.ensemble, [None] * 3)
    with pytest.raises(InvalidValue, match="has no gradient graph"):
        DetectorUnderAttack.of(blind, detecting(LINEAR_MANIFEST, 0.2), SCHEDULE)


def test_a_probe_says_whether_each_image_is_suspicious(toy: ToyBundle, victim: Victim) -> None:
    for threshold, expected in ((0.0, (True, True)), (1.0, (False, False))):
        report = probe(victim, detecting(toy.manifest, threshold), toy.images[:1], AttackParameters(eps=0.3))
        assert report.adversarial is not None
        assert (report.clean.suspicious, report.adversarial.suspicious) == expected
    scorer = Scorer.of(toy.manifest, "jensen_shannon", ("w2a4-a", "w2a4-b", "fp32"))
    (score,) = scorer(victim.predict(toy.images[:1])).tolist()
    report = probe(victim, detecting(toy.manifest, score), toy.images[:1], AttackParameters(eps=0.1))
    assert report.clean.suspicious is False
    without = probe(victim, toy.manifest, toy.images[:1], AttackParameters(eps=0.3))
    assert without.clean.suspicious is None
    assert without.adversarial is not None and without.adversarial.suspicious is None
