"""export/quantize_cli.py: from an ONNX file and a folder of pictures to a bundle, or to one line that says why not."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import helper
from PIL import Image

from export.post_training.calibration import Labels, calibration_photos
from export.quantize_cli import main
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.manifest import Input, Manifest
from tests.export.onnx_toys import toy_images, toy_onnx

TAKEN = "expected fp32, int8 (which is w8a8), or w2a8 to w8a8: activations have 8 bits where nothing is trained"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with model.onnx, photos in class folders, and labels.txt."""
    onnx.save(toy_onnx(), tmp_path / "model.onnx")
    for index, pixels in enumerate(toy_images(24, seed=5)):
        folder = tmp_path / "photos" / "abcd"[index % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels.transpose(1, 2, 0) * 255).astype(np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    return tmp_path


def quantize(folder: Path, *options: str) -> Result:
    command = ["quantize", str(folder / "model.onnx"), "--calibration", str(folder / "photos")]
    return CliRunner().invoke(main, [*command, "--out", str(folder / "bundles" / "toy"), *options])


def test_a_bundle_comes_out_that_loads_and_votes(workplace: Path) -> None:
    result = quantize(workplace, "--labels", str(workplace / "labels.txt"), "--mean", "0.4,0.5,0.6", "--std", "0.5")
    assert result.exit_code == 0, result.output
    bundle = load_bundle(workplace / "bundles" / "toy", gradients=True)
    manifest = bundle.manifest
    assert [(member.name, str(member.precision)) for member in manifest.members] == [
        ("fp32", "fp32"),
        ("int8", "w8a8"),
        ("w4a8", "w4a8"),
    ]
    assert (manifest.vote.rule, manifest.vote.tie_breaker) == ("majority", "fp32")
    assert (manifest.labels, manifest.provenance.recipe) == (("a", "b", "c", "d"), "quantize")
    assert [(m.parameters, m.macs, m.gradient_file) for m in manifest.members] == [(384, 16032, None)] * 3
    assert manifest.members[2].packed_bytes == (workplace / "bundles/toy/w4a8.onnx").stat().st_size
    ensemble = Ensemble.of_bundle(bundle)
    prediction = ensemble.predict(toy_images(20, seed=6))
    ensemble.close()
    assert (prediction.verdict == prediction.votes[0]).mean() >= 0.9


def test_the_table_shows_accuracy_and_agreement(workplace: Path) -> None:
    result = quantize(workplace, "--labels", str(workplace / "labels.txt"))
    assert "4 classes of 3 x 8 x 8, labels" in result.stdout.replace("\n", " ")
    assert "12 pictures to calibrate with, 12 others for the figures\n" in result.stdout
    assert "The softmax at its end was taken off." in result.stdout
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if "%" in line}
    assert set(rows) == {"the", "fp32", "int8", "w4a8", "ensemble"}
    assert rows["the"][:3] == ["the", "original", "float"] and rows["the"][3] == rows["fp32"][7]
    assert rows["fp32"][-1] == "100.00%" and rows["int8"][4:7] == ["4", "of", "4"]
    assert sum(cell.endswith("%") for cell in rows["int8"]) == 2


def test_for_machines_the_manifest_is_all_that_standard_output_has(workplace: Path) -> None:
    result = quantize(workplace, "--members", "fp32", "--json")
    assert result.exit_code == 0, result.output
    assert Manifest.model_validate_json(result.stdout) == load_bundle(workplace / "bundles" / "toy").manifest


def test_without_known_classes_there_is_agreement_alone(workplace: Path) -> None:
    result = quantize(workplace, "--members", "int8,w4a8")
    assert "; agreement, but no accuracy: without --labels nobody knows which folder is which class" in result.stdout
    manifest = load_bundle(workplace / "bundles" / "toy").manifest
    assert manifest.clean_accuracy is None and manifest.vote.tie_breaker == "int8"
    assert manifest.labels == ("class 0", "class 1", "class 2", "class 3")


def test_labels_that_are_not_the_folders_give_no_accuracy_though_they_are_as_many(workplace: Path) -> None:
    (workplace / "labels.txt").write_text("z\ny\nx\nw\n")
    result = quantize(workplace, "--members", "int8", "--labels", str(workplace / "labels.txt"))
    assert "; agreement, but no accuracy: the folder a has the name of no label\n" in result.stdout
    manifest = load_bundle(workplace / "bundles" / "toy").manifest
    assert (manifest.clean_accuracy, manifest.members[0].clean_accuracy) == (None, None)


def test_an_operator_without_a_rule_is_named_and_nothing_is_written(workplace: Path) -> None:
    extra = helper.make_node("LRN", ["features"], ["more"], "normalise_here", size=3)
    onnx.save(toy_onnx(extra=extra), workplace / "model.onnx")
    result = quantize(workplace)
    assert result.exit_code == 1
    assert "no rule to quantize the operator LRN of node 'normalise_here'" in result.stderr
    assert not (workplace / "bundles").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--members", "fp32,w9a8"],
            f"{TAKEN}, got w9a8",
        ),
        (
            ["--members", "fp32,w4a4"],
            f"{TAKEN}, got w4a4",
        ),
        (["--members", ""], f"{TAKEN}, got nothing"),
        (["--members", "int8,int8"], "expected members that differ, got int8,int8"),
        (["--mean", "a,b"], "expected numbers between commas, got 'a,b'"),
        (["--std", "0"], "--std above 0"),
        (["--input-range", "1"], "expected --input-range LOW,HIGH"),
        (["--labels", "imagenet"], "--labels imagenet: expected 4 labels, one for each logit, got 1000"),
        (["--calibration", "nowhere"], "nowhere: expected a folder of pictures, got nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_refused_and_nothing_is_written(workplace: Path, options: list[str], message: str) -> None:
    result = quantize(workplace, *options)
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (workplace / "bundles").exists()


def test_a_bundle_is_replaced_only_by_force(workplace: Path) -> None:
    assert quantize(workplace, "--members", "fp32").exit_code == 0
    again = quantize(workplace, "--members", "int8")
    assert again.exit_code == 1 and "--force" in again.stderr
    assert quantize(workplace, "--members", "int8", "--force").exit_code == 0
    assert [member.name for member in load_bundle(workplace / "bundles" / "toy").manifest.members] == ["int8"]


@pytest.mark.parametrize("integer", [0, 3])
def test_a_model_of_which_a_layer_stays_in_float_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, integer: int
) -> None:
    monkeypatch.setattr("export.post_training.quantized_bundle.integer_layers", lambda graph: (integer, 4))
    result = quantize(workplace, "--members", "int8")
    assert (
        "member int8: expected integer kernels for all 4 layers with weights, but ONNX Runtime makes them for "
        f"{integer}" in result.stderr
    )
    assert not (workplace / "bundles").exists()


def test_unreadable_pictures_are_named_or_left_out_and_counted_in_the_manifest(workplace: Path) -> None:
    for index in range(3):
        (workplace / "photos" / "a" / f"bad{index}.png").write_bytes(b"no picture")
    refused = quantize(workplace)
    assert refused.exit_code == 1 and "cannot be read" in refused.stderr and "bad" in refused.stderr
    assert not (workplace / "bundles").exists() or not list((workplace / "bundles").iterdir())

    result = quantize(workplace, "--skip-unreadable", "--members", "fp32,int8")
    assert result.exit_code == 0, result.output
    (said,) = (line for line in result.stdout.splitlines() if line.startswith("3 unreadable images are left out: "))
    assert len(re.findall(r"a/bad\d\.png \(", said)) == 3
    assert load_bundle(workplace / "bundles" / "toy").manifest.provenance.skipped_images == 3


def test_figures_without_a_picture_that_can_be_read_are_none(workplace: Path) -> None:
    spec = Input(channels=3, height=8, width=8, resize="center_crop")
    _, others = calibration_photos(workplace / "photos", Labels.numbered(4), spec, 32, 1000)
    for path in others.files.paths(np.arange(len(others))):
        Path(path).write_bytes(b"no picture")
    result = quantize(workplace, "--skip-unreadable", "--members", "int8")
    assert result.exit_code == 1
    assert "photos: expected pictures for the figures, none of 12 can be read: " in result.stderr
    assert not list((workplace / "bundles").iterdir())
