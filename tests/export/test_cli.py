"""export/cli.py: `empir train` on a terminal that is none."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Never

import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from onnx import numpy_helper

from export import cli, train_command
from export.data.examples import DataError, DataSet
from export.graphs.parity import TOLERANCE
from export.training import made_by, train
from export.training.accuracy import accuracy
from export.training.recipe import Recipe
from export.training.recipes import RECIPES
from models.networks import EDGES, photo_net
from models.precision import Precision
from models.quantization import EdgeBits
from runtime.bundle import load_bundle

Invoke = Callable[..., Result]
FLOAT_KERNELS = {"Conv", "Gemm", "MatMul"}


@pytest.fixture
def recipes(toy_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> dict[str, Recipe]:
    """The recipes of the command line: the toy alone."""
    found = {"toy": toy_recipe}
    for module in (train_command, made_by):
        monkeypatch.setattr(module, "RECIPES", found)
    return found


@pytest.fixture
def empir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """`empir ARGUMENTS` in an empty folder, on a wide page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMPIR_DATA_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.main, arguments)


def data_that_raises(error: BaseException) -> Callable[[Path | None], Never]:
    def data(data_dir: Path | None) -> Never:
        raise error

    return data


@pytest.mark.parametrize("arguments", [["train", "--list"], ["train"]], ids=["--list", "no recipe"])
def test_the_recipes_are_listed(arguments: Sequence[str], empir: Invoke) -> None:
    result = empir(*arguments)
    assert result.exit_code == 0
    for recipe in RECIPES.values():
        assert recipe.name in result.output
        assert f"cost: {recipe.cost}" in result.output and f"accuracy: {recipe.expected}" in result.output
        assert ", ".join(member.precision for member in recipe.members) in result.output


def test_the_recipes_are_listed_for_machines(empir: Invoke) -> None:
    listed = json.loads(empir("train", "--list", "--json").stdout)
    assert [each["name"] for each in listed] == list(RECIPES)
    assert listed[0].keys() == {"name", "members", "description", "cost", "accuracy"}


def test_an_unknown_recipe_is_refused_with_those_that_exist(empir: Invoke) -> None:
    result = empir("train", "minst")
    assert result.exit_code == 2
    (named,) = re.findall(r"^Error: recipe: expected (.*), got minst$", result.output, re.M)
    assert named == f"one of {', '.join(RECIPES)}"


def test_a_recipe_becomes_a_bundle(
    empir: Invoke, recipes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    result = empir("train", "toy", "--threads", "3")
    assert result.exit_code == 0, result.output
    assert threads == [3]
    manifest = load_bundle(tmp_path / "bundles" / "toy", gradients=True).manifest

    assert "quadrants: 300 training, 60 validation, 90 test images" in result.output
    assert manifest.clean_accuracy is not None and f"{manifest.clean_accuracy:.2%}" in result.output
    for member in manifest.members:
        assert f"{member.name}, epoch 3/3: loss" in result.output
        assert f"{member.packed_bytes / 1000:.0f} kB" in result.output
    assert "empir serve --bundles bundles --default toy" in result.output
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["toy"]  # no checkpoints are left


def test_the_manifest_is_for_machines_and_the_rest_for_whoever_watches(
    empir: Invoke, recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    result = empir("train", "toy", "--json")
    assert result.exit_code == 0, result.output
    manifest = load_bundle(tmp_path / "bundles" / "toy").manifest
    assert json.loads(result.stdout) == manifest.model_dump(mode="json")
    assert "epoch 3/3: loss" in result.stderr and "empir serve --bundles bundles" in result.stderr


def test_a_bundle_is_replaced_only_by_force(empir: Invoke, recipes: dict[str, Recipe], tmp_path: Path) -> None:
    out = tmp_path / "other"
    assert empir("train", "toy", "--out", str(out)).exit_code == 0
    before = (out / "bundle.json").read_bytes()

    refused = empir("train", "toy", "--out", str(out))
    assert refused.exit_code == 1
    assert refused.output.startswith(f"Error: {out}: a bundle is there already")
    assert (out / "bundle.json").read_bytes() == before

    recipes["toy"] = dataclasses.replace(recipes["toy"], description="Another one.")
    assert empir("train", "toy", "--out", str(out), "--force").exit_code == 0
    assert load_bundle(out).manifest.description == "Another one."


@pytest.mark.parametrize("name", ["photos", "My Bundle"])
def test_a_folder_that_cannot_be_the_bundles_is_refused_before_any_data_is_read(
    name: str, empir: Invoke, recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    recipes["toy"] = dataclasses.replace(recipes["toy"], data=data_that_raises(AssertionError("read")))
    result = empir("train", "toy", "--out", str(tmp_path / name))
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path / name}: ")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, None),
        (["--data-dir", "here"], {}, Path("here")),
        ([], {"EMPIR_DATA_DIR": "there"}, Path("there")),
        (["--data-dir", "here"], {"EMPIR_DATA_DIR": "there"}, Path("here")),
    ],
    ids=["cache", "option", "environment", "option and environment"],
)
def test_the_data_folder_reaches_the_recipe_and_its_error_the_user(
    arguments: list[str],
    environment: dict[str, str],
    expected: Path | None,
    empir: Invoke,
    recipes: dict[str, Recipe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Path | None] = []

    def missing(data_dir: Path | None) -> Never:
        asked.append(data_dir)
        raise DataError("put the files there")

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recipes["toy"] = dataclasses.replace(recipes["toy"], data=missing)
    result = empir("train", "toy", *arguments)
    assert (result.exit_code, result.output) == (1, "Error: put the files there\n")
    assert asked == [expected]


def test_unreadable_images_are_left_out_where_that_is_asked_for_and_counted(
    empir: Invoke, recipes: dict[str, Recipe], toy_data: DataSet, tmp_path: Path
) -> None:
    """The same command that would stop at one, with --skip-unreadable; `check` leaves them out by itself."""
    broken = dataclasses.replace(toy_data, unreadable={"train/a/7.png": "truncated"})
    recipes["toy"] = dataclasses.replace(
        recipes["toy"],
        members=recipes["toy"].members[:2],
        data=data_that_raises(DataError("train/a/7.png: cannot be read")),
        skipping=lambda data_dir: broken,
    )
    assert "Error: train/a/7.png: cannot be read" in empir("train", "toy").output
    result = empir("train", "toy", "--skip-unreadable")
    assert result.exit_code == 0, result.output
    assert "1 unreadable image is left out: train/a/7.png (truncated)\n" in result.output
    provenance = load_bundle(tmp_path / "bundles" / "toy").manifest.provenance
    assert provenance.skipped_images == 1
    assert provenance.command == "empir train toy --skip-unreadable --out bundles/toy"
    assert empir("check", "toy").exit_code == 0


def test_files_with_checksums_have_no_unreadable_images_to_skip(empir: Invoke, recipes: dict[str, Recipe]) -> None:
    result = empir("train", "toy", "--skip-unreadable")
    assert result.exit_code == 1
    assert result.output == ("Error: --skip-unreadable: the data of toy are whole files with checksums; leave it out\n")


def test_after_an_interruption_the_same_command_goes_on(
    empir: Invoke, recipes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = iter(range(10))

    def interrupt(network: torch.nn.Module, split: object) -> float:
        if next(epochs) == 4:  # the second one of the second member
            raise KeyboardInterrupt
        return accuracy(network, recipes["toy"].data(None).validation)

    monkeypatch.setattr(train, "accuracy", interrupt)
    result = empir("train", "toy")
    assert result.exit_code == 130
    assert "finished epochs are in bundles/toy.training. The same command goes on from there." in result.output
    checkpoints = tmp_path / "bundles" / "toy.training"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["fp32.pt", "w2a4.pt"]

    result = empir("train", "toy")
    assert result.exit_code == 0
    assert "fp32, epoch" not in result.output and "w2a4, epoch 1/3" not in result.output
    assert "w2a4, epoch 2/3" in result.output and "w8a8, epoch 1/3" in result.output
    assert not checkpoints.exists()


@pytest.fixture
def without_8_bits(recipes: dict[str, Recipe]) -> Recipe:
    """The toy recipe without its 8-bit member, whose weights cannot be restored."""
    recipes["toy"] = dataclasses.replace(recipes["toy"], members=recipes["toy"].members[:2])
    return recipes["toy"]


def test_a_bundle_is_checked_against_torch(empir: Invoke, without_8_bits: Recipe) -> None:
    assert empir("train", "toy").exit_code == 0
    result = empir("check", "toy")
    assert result.exit_code == 0, result.output
    assert "toy agrees with PyTorch" in result.output
    assert [f"{member.name} " in result.output for member in without_8_bits.members] == [True, True]
    assert result.output.count("90 equal") == 2


def test_the_edges_of_a_recipe_reach_its_members_and_their_proof(
    empir: Invoke, recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    def network(precision: Precision, edges: EdgeBits = EDGES) -> torch.nn.Sequential:
        # Of fewer than 8 channels oneDNN for AVX2 alone writes past the weights' gradient of a 1x1 convolution.
        return photo_net(precision, image_shape=(1, 8, 8), classes=4, widths=(8, 12), edges=edges)

    toy, edges = recipes["toy"], EdgeBits(first=4, last=3)
    once = dataclasses.replace(toy.training, epochs=1)
    members = (toy.members[0], dataclasses.replace(toy.members[1], name="w4a4", precision="w4a4"))
    recipes["toy"] = dataclasses.replace(
        toy, network=network, members=members, training=once, fine_tuning=once, edges=edges
    )
    assert [recipes["toy"].build(Precision(4, 4))[i].weight_bits for i in (1, -1)] == [4, 3]
    result = empir("train", "toy")
    assert result.exit_code == 0, result.output
    floats = {node.op_type for node in onnx.load(tmp_path / "bundles" / "toy" / "w4a4.onnx").graph.node} & FLOAT_KERNELS
    assert floats == set()
    assert {node.op_type for node in onnx.load(tmp_path / "bundles" / "toy" / "fp32.onnx").graph.node} & FLOAT_KERNELS
    proof = empir("check", "toy")
    assert proof.exit_code == 0, proof.output


def test_a_proof_for_machines_has_every_member(empir: Invoke, without_8_bits: Recipe, tmp_path: Path) -> None:
    assert empir("train", "toy").exit_code == 0
    manifest = load_bundle(tmp_path / "bundles" / "toy").manifest
    proof = json.loads(empir("check", "toy", "--json").stdout)
    assert proof["bundle"] == {"name": "toy", "version": manifest.version} and proof["agrees"] is True
    assert proof["clean_accuracy"] == manifest.clean_accuracy
    for found, member in zip(proof["members"], manifest.members, strict=True):
        assert (found["name"], found["clean_accuracy"]) == (member.name, member.clean_accuracy)
        assert (found["images"], found["gradient_images"]) == (90, 90)
        assert 0 <= found["logits_error"] <= TOLERANCE and 0 <= found["gradient_error"] <= TOLERANCE


def test_a_check_finds_a_member_graph_of_other_weights(empir: Invoke, without_8_bits: Recipe, tmp_path: Path) -> None:
    """Even where the manifest vouches for the file."""
    assert empir("train", "toy").exit_code == 0
    folder = tmp_path / "bundles" / "toy"
    path = folder / "w2a4.onnx"
    model = onnx.load(path)
    for initializer in model.graph.initializer:
        if initializer.data_type == onnx.TensorProto.UINT2:
            q = numpy_helper.to_array(initializer)
            initializer.CopyFrom(numpy_helper.from_array(q[::-1].copy(), initializer.name))
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    onnx.save(model, path)
    manifest = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(manifest.replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))

    result = empir("check", "toy")
    assert result.exit_code == 1
    assert result.output.startswith("Error: member w2a4: the member graph ")


def test_a_check_refuses_what_it_cannot_restore(empir: Invoke, recipes: dict[str, Recipe]) -> None:
    missing = empir("check", "toy")
    assert missing.exit_code == 1 and "bundles: expected a folder of bundles" in missing.output

    assert empir("train", "toy").exit_code == 0
    whole = empir("check", "toy")
    assert whole.exit_code == 0 and "toy agrees with PyTorch" in whole.output

    del recipes["toy"]
    no_recipe = empir("check", "toy")
    assert no_recipe.exit_code == 1
    assert "toy: made by the recipe 'toy', which does not exist here" in no_recipe.output
