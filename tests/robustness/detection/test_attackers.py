"""The detector under attack, by three attackers, on a toy bundle and on linear victims; and what a probe says of it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from robustness.attacks.climb import Schedule
from robustness.detection.attackers import AWAY_LOSSES, FIRST, LAST, DetectorUnderAttack, strongest_of
from robustness.detection.detection_report import DetectionReport, Way
from robustness.parameters import AttackParameters
from robustness.probe import probe
from robustness.reporting.share import Share
from robustness.victim import Victim
from runtime.auroc import auroc
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
    aware = attack.vote_aware(GREY, CATS, np.random.default_rng(0))
    first = aware.ways["joint_margin", FIRST]
    assert first.source.tolist() == [0, 1] == list(aware.found)
    expected = Scorer.of(LINEAR_MANIFEST, "jensen_shannon", NAMES)(apart.predict(np.stack(list(aware.found.values()))))
    np.testing.assert_array_equal(first.scores, expected)
    hidden = attack.detector_aware(GREY, CATS, aware.found)
    assert hidden.source.tolist() == [0, 1]
    assert (hidden.scores <= 0.05).all() and (hidden.scores <= first.scores).all()


def test_who_goes_on_when_the_vote_has_fallen_is_seen_less() -> None:
    """The low-precision members become dog where the image is 0.05 brighter, the other one where it is 0.08."""
    victim = linear_victim([[(0, 25, 0)] * 4, [(0, 25, 0)] * 4, [(0, 15, 0)] * 4], [(5, 0, 0)] * 3)
    attack = DetectorUnderAttack.of(victim, detecting(LINEAR_MANIFEST, 0.05), SCHEDULE)
    ways = attack.vote_aware(GREY, CATS, np.random.default_rng(0)).ways
    assert set(ways) == {("joint_margin", FIRST), *((loss, LAST) for loss in ("joint_margin", *AWAY_LOSSES))}
    further = ways["mean_margin", LAST]
    assert further.source.tolist() == [0, 1] and (further.scores < ways["joint_margin", FIRST].scores).all()
    dog = np.clip(GREY + np.float32(0.1), 0, 1)
    expected = Scorer.of(LINEAR_MANIFEST, "jensen_shannon", NAMES)(victim.predict(dog))
    np.testing.assert_allclose(further.scores, expected, atol=1e-6)
    victim.close()


@pytest.mark.parametrize(
    ("ways", "strongest"),
    [
        ([(0.9, 10), (0.7, 5), (0.1, 4)], (0.7, 5)),
        ([(0.9, 10), (None, 0)], (0.9, 10)),
        ([(None, 0), (None, 0)], (None, 0)),
    ],
    ids=["lowest of those that turn half", "one turns none", "none turn any"],
)
def test_the_strongest_way_is_the_one_seen_worst(
    ways: list[tuple[float | None, int]], strongest: tuple[float | None, int]
) -> None:
    told = [
        Way(loss="x", keeps=LAST, succeeded=n, auroc=area, interval=None, detected=Share.of(0, n)) for area, n in ways
    ]
    found = strongest_of(told)
    assert (found.auroc, found.succeeded) == strongest


def test_lambda_is_what_hides(toy: ToyBundle, victim: Victim) -> None:
    """Without the score in the loss, the lowest score met on the way is higher."""
    schedule = Schedule("linf", 0.15, 10, 0.02, random_start=False)
    images, classes = toy.images, toy.classes
    attack = DetectorUnderAttack.of(victim, detecting(toy.manifest, 0.01), schedule, lambdas=(0.0,))
    found = attack.vote_aware(images, classes, np.random.default_rng(0)).found
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
    found = attack.vote_aware(toy.images, toy.classes, np.random.default_rng(0)).found
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
        assert hidden.succeeded >= max(way.succeeded for way in aware.ways) >= unaware.succeeded
        assert aware.auroc == min(way.auroc or 1 for way in aware.ways if 2 * way.succeeded >= hidden.succeeded)
        assert {(way.loss, way.keeps) for way in aware.ways} >= {("joint_margin", FIRST), ("mean_margin", LAST)}
        assert (aware.parameters["loss"], aware.parameters["keeps"]) in {(way.loss, way.keeps) for way in aware.ways}
        assert hidden.interval is not None and hidden.interval[0] <= (hidden.auroc or 0) <= hidden.interval[1]
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


def test_clean_images_to_compare_with_may_be_others(toy: ToyBundle, victim: Victim) -> None:
    """Where those attacked were chosen because they fall."""
    schedule = Schedule("linf", 0.15, 5, 0.05, random_start=False)
    attack = DetectorUnderAttack.of(victim, detecting(toy.manifest, 0.02), schedule)
    report = attack.report(toy.images[:6], toy.classes[:6], clean=toy.images[6:], known_first=6)
    assert (report.clean_false_alarms.n, report.known_first) == (18, 6)
    scores = Scorer.of(toy.manifest, "jensen_shannon", ("w2a4-a", "w2a4-b", "fp32"))(victim.predict(toy.images[6:]))
    assert report.clean_false_alarms.count == (scores > 0.02).sum()
    assert all(row.attacked == 6 for row in report.attackers)


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
