"""export/score_choice.py: an attack that stays in its ball, and the score that sees best what it turned."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from export import score_choice
from export.data.examples import Split
from export.detection import add_detection, choose_detection
from export.score_choice import Attacked, attack_alone, best_of, fitting_scores, images_for
from robustness.parameters import default_eps
from runtime.bundle import load_bundle
from runtime.detection import Scorer
from runtime.ensemble import Ensemble
from runtime.manifest import ScoreChoice, ScoreName
from runtime.usual_eps import usual_linf_eps
from tests.toy_bundle import ToyBundle, rewrite
from tests.toys import W2A4, Array, toy_entry, toy_manifest

TURNED = 24


@dataclass
class Linear:
    """Logits W x of images, and their gradient; notes all that it was asked."""

    weights: Array
    name: str = "linear"

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        flat = images.reshape(len(images), -1)
        return flat @ self.weights.T, (cotangents @ self.weights).reshape(images.shape)


@given(seed=st.integers(0, 10_000), eps=st.sampled_from([0.02, 0.1, 0.3]))
def test_of_a_linear_network_the_attack_ends_in_the_corner_of_the_ball(seed: int, eps: float) -> None:
    """Of two classes every step goes the same way, and all of them together cross the ball."""
    generator = np.random.default_rng(seed)
    network = Linear(generator.normal(size=(2, 9)).astype(np.float32))
    images, labels = generator.random((5, 1, 3, 3)).astype(np.float32), generator.integers(0, 2, 5)
    logits = network.gradient(images, np.zeros((5, 2), np.float32))[0]
    found = attack_alone(network, images, labels, logits, eps, generator)
    way = np.sign(network.weights[1 - labels] - network.weights[labels]).reshape(images.shape)
    np.testing.assert_allclose(found, (images + eps * way).clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_radius_is_that_of_an_evaluation(channels: int) -> None:
    assert usual_linf_eps(channels) == default_eps("linf", channels)


def test_a_large_network_is_attacked_on_fewer_images() -> None:
    counts = [images_for(macs) for macs in (0, 10**6, 10**8, 10**9, 10**11)]
    assert counts == sorted(counts, reverse=True) and (counts[0], counts[-1]) == (300, 50)
    assert 60 * images_for(4 * 10**8) * 4 * 10**8 <= 3e12


def choice(turned: int = TURNED, **auroc: float) -> ScoreChoice:
    return ScoreChoice.model_validate(
        {"member": "fp32", "eps": 0.3, "steps": 20, "attacked": 30, "turned": turned, "auroc": auroc}
    )


@pytest.mark.parametrize(
    ("measured", "best"),
    [
        (choice(kullback_leibler=0.8, jensen_shannon=0.9), "jensen_shannon"),
        (choice(jensen_shannon=0.9, kullback_leibler=0.9, margin_gap=0.9), "kullback_leibler"),
        (choice(turned=19, kullback_leibler=0.8, jensen_shannon=0.9), "kullback_leibler"),
        (choice(turned=0), "kullback_leibler"),
    ],
    ids=["the largest area", "among equals the usual one", "too few", "none"],
)
def test_the_score_with_the_largest_area_is_taken(measured: ScoreChoice, best: ScoreName) -> None:
    assert best_of(measured, "kullback_leibler") == best


def test_scores_between_kinds_need_both() -> None:
    entries = [toy_entry("a", W2A4), toy_entry("b", W2A4)]
    manifest = toy_manifest(entries, "a", (1, 8, 8), ("no", "yes"))
    assert fitting_scores(manifest) == ["jensen_shannon", "disagreement"]


@pytest.fixture
def validation(toy: ToyBundle) -> Split:
    return Split(np.rint(toy.images * 255).astype(np.uint8), toy.classes)


def test_what_is_recorded_is_what_can_be_counted_again(
    toy: ToyBundle, validation: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pairs: of a turned and a clean image, which has the higher score."""
    attacked_images: list[Array] = []

    def noted(
        network: Linear, images: Array, labels: NDArray[np.int64], logits: Array, eps: float, g: np.random.Generator
    ) -> Array:
        attacked_images.append(found := attack_alone(network, images, labels, logits, eps, g))
        assert np.abs(found - images).max() <= eps + 1e-6 and found.min() >= 0 and found.max() <= 1
        np.testing.assert_allclose(logits, network.gradient(images, np.zeros_like(logits))[0], atol=1e-4)
        return found

    monkeypatch.setattr(score_choice, "attack_alone", noted)
    monkeypatch.setattr(score_choice, "LEAST_TURNED", 1)
    bundle = load_bundle(toy.folder, gradients=True)
    ensemble = Ensemble.of_bundle(bundle)
    chosen = choose_detection(ensemble, toy.manifest, validation, attacked=Attacked.of(bundle))
    clean, found = validation.pixels(), np.concatenate(attacked_images)
    before, after = ensemble.predict(clean), ensemble.predict(found)
    ensemble.close()
    assert chosen is not None and chosen.chosen is not None
    record, right = chosen.chosen, before.verdict == toy.classes
    fell = right & (after.verdict != toy.classes)
    assert (record.member, record.attacked, record.turned) == ("fp32", right.sum(), fell.sum())
    assert fell.sum() > 0
    for name, area in record.auroc.items():
        scorer = Scorer.of(toy.manifest, name, chosen.members)
        low, high = scorer(before)[None], scorer(after)[fell][:, None]
        assert area == pytest.approx(float((high > low).mean() + (high == low).mean() / 2), abs=2e-6)
    assert record.auroc[chosen.score] == max(record.auroc.values())


def test_a_score_that_is_named_is_not_measured(toy: ToyBundle, validation: Split) -> None:
    bundle = load_bundle(toy.folder, gradients=True)
    ensemble = Ensemble.of_bundle(bundle)
    chosen = choose_detection(ensemble, toy.manifest, validation, "margin_gap", Attacked.of(bundle))
    ensemble.close()
    assert chosen is not None and (chosen.score, chosen.chosen) == ("margin_gap", None)


def test_without_a_gradient_graph_of_full_precision_the_usual_score_is_taken(
    toy_copy: Path, toy: ToyBundle, validation: Split
) -> None:
    members = [member.model_dump(mode="json") for member in toy.manifest.members]
    members[2] |= {"gradient_file": None, "gradient_sha256": None}
    rewrite(toy_copy, members=members)
    detection = add_detection(toy_copy, validation).detection
    assert detection is not None and (detection.score, detection.chosen) == ("kullback_leibler", None)
