"""A training as the command line runs it: members in turn, checkpoints beside the bundle, a table at the end."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from export.bundle import write_bundle
from export.data.examples import DataError, DataSet
from export.training import train
from export.training.recipe import Recipe
from export.training.state import TrainingState
from export.training_run import checkpoints, summary, train_bundle
from runtime.bundle import load_bundle
from runtime.errors import EmpirError
from runtime.manifest import Manifest

COMMAND = "empir train toy --out bundles/toy"


@pytest.fixture
def recipe(toy_recipe: Recipe) -> Recipe:
    """The toy recipe with two members."""
    return dataclasses.replace(toy_recipe, members=toy_recipe.members[:2])


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(shown: Console) -> list[list[str]]:
    assert isinstance(shown.file, io.StringIO)
    return [line.split() for line in shown.file.getvalue().splitlines()]


def test_a_bundle_comes_out_and_the_checkpoints_go(recipe: Recipe, toy_data: DataSet, tmp_path: Path) -> None:
    out, shown = tmp_path / "bundles" / "toy", console()
    manifest = train_bundle(recipe, toy_data, out, COMMAND, shown)
    assert load_bundle(out, gradients=True).manifest == manifest
    assert manifest.provenance.command == COMMAND
    assert [path.name for path in out.parent.iterdir()] == ["toy"]
    rows = {line[0]: line for line in printed(shown) if line and line[0] in ("fp32", "w2a4", "ensemble")}
    accuracies = {member.name: member.clean_accuracy for member in manifest.members}
    for name, accuracy in [*accuracies.items(), ("ensemble", manifest.clean_accuracy)]:
        assert f"{accuracy:.2%}" in rows[name]
    assert all(" ".join(rows[name]).count("90 equal") == 1 for name in accuracies)  # each test image


def test_data_of_other_classes_are_refused_before_anything_is_trained(
    recipe: Recipe, toy_data: DataSet, tmp_path: Path
) -> None:
    few = dataclasses.replace(toy_data, labels=toy_data.labels[:3])
    with pytest.raises(DataError, match=r"^quadrants: expected 4 classes, one for each logit of toy, got 3$"):
        train_bundle(recipe, few, tmp_path / "toy", COMMAND, console())
    assert not list(tmp_path.iterdir())


def test_what_finished_is_not_trained_again(
    recipe: Recipe, toy_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the graphs are written: no epoch is lost, and the bundle is that of a run that was not."""
    out, whole, shown = tmp_path / "interrupted" / "toy", tmp_path / "whole" / "toy", console()

    def killed(*arguments: object) -> tuple[Manifest, list[object]]:
        raise EmpirError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("export.training_run.write_bundle", killed)
        with pytest.raises(EmpirError, match="no space left"):
            train_bundle(recipe, toy_data, out, COMMAND, console())
    assert not out.exists()
    assert sorted(path.name for path in checkpoints(out).iterdir()) == ["fp32.pt", "w2a4.pt"]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "step", lambda *given: pytest.fail("trained"))
        resumed = train_bundle(recipe, toy_data, out, COMMAND, shown)
    assert [line[0] for line in printed(shown) if "going" in line] == ["fp32:", "w2a4:"]
    again = train_bundle(recipe, toy_data, whole, COMMAND, console())
    assert [member.sha256 for member in again.members] == [member.sha256 for member in resumed.members]
    assert not checkpoints(out).exists()


def test_a_summary_says_how_well_torch_and_graphs_agree(recipe: Recipe, toy_data: DataSet, tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, epochs=1))
    trained = [
        train.train_member(recipe, member, toy_data, tmp_path / f"{member.name}.pt", lambda step: None)
        for member in recipe.members
    ]
    manifest, parities = write_bundle(recipe, trained, toy_data, tmp_path / "toy", COMMAND)
    parities = [dataclasses.replace(parity, kinks=kinks) for parity, kinks in zip(parities, (0, 3), strict=True)]
    shown = console()
    shown.print(summary(manifest, parities, "toy agrees"))
    text = [" ".join(line) for line in printed(shown)]
    assert text[0] == "toy agrees"
    (first,) = (line for line in text if line.startswith("fp32"))
    (second,) = (line for line in text if line.startswith("w2a4"))
    assert "kink" not in first and second.endswith("3 on a kink")
    assert (
        f"± {parities[0].logits_error:.0e}" in first and f"{manifest.members[1].packed_bytes / 1000:.0f} kB" in second
    )
