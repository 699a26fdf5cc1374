"""export/detection.py and `empir threshold`: few clean images are above it, and nothing else of a bundle changes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from export import detection, score_choice, threshold
from export.data.examples import DataSet, Split
from export.detection import MOST_IMAGES, add_detection, choose_detection, threshold_of
from export.training import made_by
from export.training.recipe import Recipe
from runtime.bundle import MANIFEST, load_bundle
from runtime.detection import Scorer
from runtime.ensemble import Ensemble
from runtime.errors import EmpirError, InvalidValue
from runtime.manifest import Manifest
from runtime.member import Answer, Images
from tests.toy_bundle import ToyBundle
from tests.toys import FP32, W2A4, ToyMember, toy_entry, toy_manifest

SCORES = hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1, width=16))


@given(scores=SCORES, false_alarms=st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_no_more_than_the_share_is_above_and_no_lower_threshold_would_do(
    scores: NDArray[np.float64], false_alarms: float
) -> None:
    found = threshold_of(scores, false_alarms)
    allowed = int(false_alarms * len(scores))
    assert (scores > found).sum() <= allowed
    below = scores[scores <= found]
    assert (scores >= below.max()).sum() > allowed  # below the highest that is not above it, too many are


def test_the_threshold_is_half_way_to_the_next_score() -> None:
    assert threshold_of(np.arange(40.0)) == 37.5  # 38 and 39 are 5% of 40
    assert threshold_of(np.arange(19.0)) == 18  # of so few not even one may be above it


@pytest.fixture
def validation(toy: ToyBundle) -> Split:
    """The toy bundle's images, as bytes."""
    return Split(np.rint(toy.images * 255).astype(np.uint8), toy.classes)


def test_the_threshold_is_the_served_graphs(toy: ToyBundle, validation: Split) -> None:
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    chosen = choose_detection(ensemble, toy.manifest, validation)
    assert chosen is not None
    assert (chosen.score, chosen.members, chosen.images) == ("kullback_leibler", ("w2a4-a", "w2a4-b", "fp32"), 24)
    one_by_one = [ensemble.predict(validation.pixels(index, index + 1)) for index in range(24)]
    ensemble.close()
    scorer = Scorer.of(toy.manifest, "kullback_leibler", chosen.members)
    above = sum(float(scorer(prediction)[0]) > chosen.threshold for prediction in one_by_one)
    assert above == 1 and chosen.false_alarms == pytest.approx(1 / 24, abs=1e-6)


def ensemble_of(*members: ToyMember) -> tuple[Ensemble, Manifest]:
    entries = [toy_entry(member.name, member.precision) for member in members]
    manifest = toy_manifest(entries, members[-1].name, (1, 1, 1), ("no", "yes"))
    return Ensemble(members, manifest.vote, 2, concurrency="requests"), manifest


LEVELS = Split(np.zeros((30, 1, 1, 1), np.uint8), np.zeros(30, np.int64))
YES = np.array([[0, 3]], np.float32)


def test_one_member_has_nobody_to_disagree_with() -> None:
    assert choose_detection(*ensemble_of(ToyMember("a", FP32, YES)), LEVELS) is None


def test_a_gap_needs_both_kinds_of_members() -> None:
    members = (ToyMember("a", W2A4, YES), ToyMember("b", W2A4, YES))
    with pytest.raises(InvalidValue, match=r"^score: margin_gap compares full with low precision.*expected jensen_sh"):
        choose_detection(*ensemble_of(*members), LEVELS, "margin_gap")


def test_a_member_that_fails_leaves_no_threshold() -> None:
    members = (ToyMember("a", W2A4, YES, "error"), ToyMember("b", FP32, YES))
    with pytest.raises(EmpirError, match="expected the votes of all members on every validation image"):
        choose_detection(*ensemble_of(*members), LEVELS)


def test_many_images_are_drawn_from_the_whole_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of pictures comes class by class: the first ones would be of a few classes."""
    monkeypatch.setattr(detection, "MOST_IMAGES", 10)
    asked: list[int] = []

    class Noted(ToyMember):
        def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
            asked.extend(np.rint(images[:, 0, 0, 0] * 255).astype(int).tolist())
            return super().answer(np.zeros_like(images))

    levels = np.arange(30, dtype=np.uint8).reshape(-1, 1, 1, 1)
    chosen = choose_detection(
        *ensemble_of(Noted("a", W2A4, YES), ToyMember("b", FP32, np.repeat(YES, 30, axis=0))),
        Split(levels, np.zeros(30, np.int64)),
    )
    assert chosen is not None and chosen.images == len(set(asked)) == 10 and max(asked) >= 15
    assert MOST_IMAGES == 5_000


def test_only_the_detection_of_a_bundle_changes(toy_copy: Path, validation: Split) -> None:
    files = {path.name: path.read_bytes() for path in toy_copy.iterdir()}
    document = json.loads(files[MANIFEST]) | {"description": "Größe"}
    del document["clean_accuracy"]  # as an older bundle's, which knows less
    (toy_copy / MANIFEST).write_text(json.dumps(document), encoding="utf-8")
    before = load_bundle(toy_copy).manifest
    after = add_detection(toy_copy, validation)
    assert load_bundle(toy_copy, gradients=True).manifest == after
    assert after.detection is not None and before.detection is None
    assert after.model_copy(update={"detection": None}) == before
    assert {path.name for path in toy_copy.iterdir()} == files.keys()
    assert all(path.read_bytes() == files[path.name] for path in toy_copy.iterdir() if path.name != MANIFEST)
    assert after.detection.model_dump(mode="json") == json.loads((toy_copy / MANIFEST).read_text())["detection"]
    assert json.loads((toy_copy / MANIFEST).read_text()) | {"detection": None} == document
    assert add_detection(toy_copy, validation) == after


@pytest.fixture
def recipes(toy_recipe: Recipe, toy_data: DataSet, validation: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy's recipe alone, with the toy bundle's images."""
    data = replace(toy_data, validation=validation)
    monkeypatch.setattr(made_by, "RECIPES", {"toy": replace(toy_recipe, data=lambda data_dir: data)})


def test_empir_threshold_says_what_it_chose(toy_copy: Path, recipes: None) -> None:
    arguments = ["threshold", "toy", "--bundles", str(toy_copy.parent), "--score", "disagreement"]
    result = CliRunner().invoke(threshold.main, arguments)
    assert result.exit_code == 0, result.output
    chosen = json.loads((toy_copy / MANIFEST).read_text())["detection"]
    assert chosen["score"] == "disagreement"
    assert result.output.startswith(f"toy: suspicious above disagreement {chosen['threshold']:.4g}, which ")
    assert "of 24 clean validation images are" in result.output
    for_machines = CliRunner().invoke(threshold.main, [*arguments, "--json"])
    assert json.loads(for_machines.stdout) == chosen


def test_empir_threshold_refuses_what_it_does_not_know(
    toy_copy: Path, recipes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--bundles", str(toy_copy.parent)]
    unknown = CliRunner().invoke(threshold.main, ["threshold", "toy", *where, "--score", "entropy"])
    assert unknown.exit_code == 2
    assert "'entropy' is not one of 'jensen_shannon', 'kullback_leibler', 'disagreement'" in unknown.output
    missing = CliRunner().invoke(threshold.main, ["threshold", "no", *where])
    assert missing.exit_code == 1 and "expected one that is in" in missing.output
    monkeypatch.setattr(made_by, "RECIPES", {})
    no_recipe = CliRunner().invoke(threshold.main, ["threshold", "toy", *where])
    assert no_recipe.exit_code == 1 and "made by the recipe 'toy', which does not exist here" in no_recipe.output


def test_empir_threshold_says_by_what_it_chose_the_score(
    toy_copy: Path, recipes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["threshold", "toy", "--bundles", str(toy_copy.parent)]
    *_, line = CliRunner().invoke(threshold.main, arguments).output.splitlines()
    chosen = json.loads((toy_copy / MANIFEST).read_text())["detection"]
    counts = f"turned {chosen['chosen']['turned']} of {chosen['chosen']['attacked']} validation images"
    best = f"{chosen['score']} {chosen['chosen']['auroc'][chosen['score']]:.3f}"
    assert line.startswith(f"PGD on fp32 alone, L∞ 0.3, {counts}; area under the curve: {best}, ")
    for module in (threshold, score_choice):
        monkeypatch.setattr(module, "LEAST_TURNED", 25)
    few = CliRunner().invoke(threshold.main, arguments)
    assert few.output.startswith("toy: suspicious above kullback_leibler")
    assert few.output.endswith(f"{counts}: too few to choose a score by, so it is the usual one\n")
