"""export/bundle.py: a bundle appears whole and true, or not at all."""

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Never

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import export.bundle
import runtime.origin
from export.bundle import write_bundle
from export.bundle_folder import content_version, refuse_to_overwrite
from export.data.examples import DataSet
from export.graphs.parity import ParityError
from export.training.accuracy import fit_temperature, logits_of
from export.training.recipe import Recipe
from export.training.train import Trained
from runtime.bundle import MANIFEST, load_bundle
from runtime.ensemble import Ensemble
from runtime.errors import BundleError
from runtime.manifest import Input, Manifest, Vote
from runtime.member import Answer, Images, Member
from tests.linear_victim import AVERAGE, MAJORITY
from tests.pictures import SPEC

Write = Callable[[Path], Manifest]
Edit = Callable[[onnx.ModelProto], None]


@pytest.fixture
def write(toy_recipe: Recipe, toy_trained: list[Trained], toy_data: DataSet) -> Write:
    """Writes the toy ensemble to a folder."""
    return lambda out: write_bundle(toy_recipe, toy_trained, toy_data, out, "empir train toy")[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def graphs(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name != MANIFEST}


def test_the_bundle_loads_and_its_manifest_tells_the_truth(
    write: Write, toy_recipe: Recipe, toy_trained: list[Trained], toy_data: DataSet, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "toy"
    manifest = write(out)
    assert load_bundle(out, gradients=True).manifest == manifest
    assert [path.name for path in out.parent.iterdir()] == ["toy"]

    assert (manifest.name, manifest.labels, manifest.input) == ("toy", toy_data.labels, toy_recipe.input)
    assert (manifest.vote, manifest.description) == (toy_recipe.vote, toy_recipe.description)
    files = contents(out)
    assert set(files) == {
        MANIFEST,
        *(f"{m.name}{kind}" for m in manifest.members for kind in (".onnx", ".gradient.onnx")),
    }
    for member, trained in zip(manifest.members, toy_trained, strict=True):
        assert (member.name, str(member.precision)) == (trained.recipe.name, trained.recipe.precision)
        assert member.sha256 == hashlib.sha256(files[member.file]).hexdigest()
        assert member.gradient_file is not None
        assert member.gradient_sha256 == hashlib.sha256(files[member.gradient_file]).hexdigest()
        assert (member.parameters, member.macs, member.packed_bytes) == (384, 1632, len(files[member.file]))
        logits = logits_of(trained.network, toy_data.validation)
        assert member.temperature == fit_temperature(logits, torch.from_numpy(toy_data.validation.classes))


def test_provenance_is_enough_to_make_it_again(
    write: Write, toy_trained: list[Trained], toy_data: DataSet, tmp_path: Path
) -> None:
    provenance = write(tmp_path / "toy").provenance
    assert (provenance.command, provenance.seed) == ("empir train toy", 0)
    assert (provenance.data_set, provenance.data_md5) == ("quadrants", toy_data.md5)
    assert {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")}.items() <= (
        provenance.packages.items()
    )
    assert provenance.training_seconds == pytest.approx(sum(t.seconds for t in toy_trained), abs=0.06)
    assert provenance.hardware.endswith(" cores") and provenance.created.endswith("+00:00")


def test_the_commit_is_that_of_this_code_whatever_the_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(command: list[str], *, cwd: Path, **options: bool) -> subprocess.CompletedProcess[str]:
        assert cwd == Path(runtime.origin.__file__).parent
        return subprocess.CompletedProcess(command, 0, stdout="c0ffee-dirty\n")

    def no_git(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", git)
    assert write(tmp_path / "toy").provenance.git_commit == "c0ffee-dirty"
    monkeypatch.setattr(subprocess, "run", no_git)
    assert write(tmp_path / "toy").provenance.git_commit == "unknown"


def majority_vote(votes: NDArray[np.int64], tie_breaker: int) -> NDArray[np.int64]:
    """EMPIR's rule, image by image, in plain Python."""
    verdicts = []
    for column in votes.T.tolist():
        leader = max(column, key=column.count)
        verdicts.append(leader if 2 * column.count(leader) > len(column) else column[tie_breaker])
    return np.array(verdicts)


def test_clean_accuracies_are_those_of_the_ensemble_and_of_torch(
    write: Write, toy_trained: list[Trained], toy_data: DataSet, tmp_path: Path
) -> None:
    manifest, test = write(tmp_path / "toy"), toy_data.test
    ensemble = Ensemble.of_bundle(load_bundle(tmp_path / "toy"))
    verdict = ensemble.predict(test.pixels()).verdict
    ensemble.close()
    votes = np.stack([logits_of(trained.network, test).argmax(dim=1).numpy() for trained in toy_trained])

    np.testing.assert_array_equal(verdict, majority_vote(votes, tie_breaker=0))
    assert manifest.clean_accuracy == round(float((verdict == test.classes).mean()), 6)
    shares = (votes == test.classes).mean(axis=1)
    assert [member.clean_accuracy for member in manifest.members] == [round(float(share), 6) for share in shares]


def test_a_slow_machine_makes_no_member_look_wrong(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Member.answer

    def slow_answer(self: Member, images: Images, options: object = None) -> Answer:
        return dataclasses.replace(answer(self, images), seconds=100.0)

    expected = write(tmp_path / "toy").clean_accuracy
    monkeypatch.setattr(Member, "answer", slow_answer)
    assert write(tmp_path / "toy").clean_accuracy == expected


def test_the_same_members_give_the_same_bytes_and_version(write: Write, tmp_path: Path) -> None:
    first, second = write(tmp_path / "a" / "toy"), write(tmp_path / "b" / "toy")
    assert graphs(tmp_path / "a" / "toy") == graphs(tmp_path / "b" / "toy")
    assert first.version == second.version
    without_time: Mapping[str, bool | set[str]] = {"provenance": {"created"}, "measured": True}
    assert first.model_dump(exclude=without_time) == second.model_dump(exclude=without_time)


def test_other_members_give_another_version(
    write: Write, toy_recipe: Recipe, toy_trained: list[Trained], toy_data: DataSet, tmp_path: Path
) -> None:
    swapped = [toy_trained[0], dataclasses.replace(toy_trained[2], recipe=toy_trained[1].recipe), toy_trained[2]]
    other, _ = write_bundle(toy_recipe, swapped, toy_data, tmp_path / "other" / "toy", "")
    assert other.version != write(tmp_path / "toy").version


@pytest.mark.parametrize(
    ("vote", "labels", "spec"),
    [
        (AVERAGE, ("cat", "dog"), SPEC),
        (MAJORITY, ("dog", "cat"), SPEC),
        (MAJORITY, ("cat", "dog"), SPEC.model_copy(update={"resize": "stretch"})),
    ],
    ids=["vote", "labels", "resize rule"],
)
def test_what_changes_an_answer_gives_another_version(vote: Vote, labels: tuple[str, ...], spec: Input) -> None:
    assert content_version((), vote, labels, spec) != content_version((), MAJORITY, ("cat", "dog"), SPEC)


def test_a_bundle_that_is_there_is_replaced_whole(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "toy")
    (tmp_path / "toy" / "report.html").write_text("of the old one")
    write(tmp_path / "toy")
    assert "report.html" not in contents(tmp_path / "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_a_bundle_that_cannot_be_replaced_comes_back(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "toy")
    before, rename, calls = contents(tmp_path / "toy"), os.rename, iter(range(9))

    def failing_rename(source: Path, target: Path) -> None:
        if next(calls) == 1:
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing_rename)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "toy")
    assert contents(tmp_path / "toy") == before
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def multiply_output(name: str, factor: float) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        (node,) = (node for node in model.graph.node if name in node.output)
        node.output[0] = "unspoilt"
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
        model.graph.node.append(helper.make_node("Mul", ["unspoilt", "factor"], [name]))

    return edit


def change_one_weight(position: int) -> Edit:
    """Changes the largest weight of the initializer at `position` among those of more than one axis."""

    def edit(model: onnx.ModelProto) -> None:
        initializer = [each for each in model.graph.initializer if len(each.dims) > 1][position]
        values = numpy_helper.to_array(initializer).copy()
        largest = values.astype(np.float32).argmax()
        values.flat[largest] = values.astype(np.float32).min()
        initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))

    return edit


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, Edit], None]:
    """Edits the graph of the member `name` that `builder` makes."""

    def install(builder: str, name: str, edit: Edit) -> None:
        build = getattr(export.bundle, builder)

        def spoilt(*arguments: object) -> onnx.ModelProto:
            model: onnx.ModelProto = build(*arguments)
            if arguments[-1] in (name, f"{name}-gradient"):
                before = model.SerializeToString()
                edit(model)
                assert model.SerializeToString() != before
                onnx.checker.check_model(model)
            return model

        monkeypatch.setattr(export.bundle, builder, spoilt)

    return install


SPOILT = [
    pytest.param("gradient_graph", "fp32", multiply_output("gradient", 0), id="fp32: zero gradient"),
    pytest.param("gradient_graph", "w2a4", multiply_output("gradient", 0), id="w2a4: zero gradient"),
    pytest.param("gradient_graph", "w2a4", multiply_output("gradient", np.nan), id="w2a4: gradient NaN"),
    pytest.param("gradient_graph", "w8a8", multiply_output("logits", 1.01), id="w8a8: logits of the gradient graph"),
    pytest.param("member_graph", "w8a8", multiply_output("logits", np.nan), id="w8a8: logits NaN"),
    pytest.param("member_graph", "w2a4", multiply_output("logits", np.inf), id="w2a4: logits infinite"),
    *(
        pytest.param(builder, name, change_one_weight(position), id=f"{name}: a weight of layer {position}, {builder}")
        for builder in ("member_graph", "gradient_graph")
        for name in ("fp32", "w2a4", "w8a8")
        for position in range(4)
    ),
]


@pytest.mark.parametrize(("builder", "member", "edit"), SPOILT)
def test_a_graph_that_disagrees_with_its_network_leaves_nothing(
    builder: str,
    member: str,
    edit: Edit,
    write: Write,
    spoil: Callable[[str, str, Edit], None],
    tmp_path: Path,
) -> None:
    spoil(builder, member, edit)
    kind = "gradient graph" if builder == "gradient_graph" else "member graph"
    with pytest.raises(ParityError, match=f"member {member}: the {kind} "):
        write(tmp_path / "toy")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_disagrees_leaves_the_bundle_that_is_there(
    write: Write, spoil: Callable[[str, str, Edit], None], tmp_path: Path
) -> None:
    write(tmp_path / "toy")
    before = contents(tmp_path / "toy")
    spoil("gradient_graph", "w2a4", multiply_output("gradient", 0))
    with pytest.raises(ParityError):
        write(tmp_path / "toy")
    assert contents(tmp_path / "toy") == before
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_only_a_bundle_is_overwritten_and_only_by_force(write: Write, tmp_path: Path) -> None:
    out, other = tmp_path / "toy", tmp_path / "photos"
    refuse_to_overwrite(out, force=False)
    write(out)
    other.mkdir()
    (tmp_path / "file").write_text(json.dumps({}))

    refuse_to_overwrite(out, force=True)
    with pytest.raises(BundleError, match=f"{out}: a bundle is there already; choose another --out, or --force"):
        refuse_to_overwrite(out, force=False)
    for path in (other, tmp_path / "file"):
        with pytest.raises(BundleError, match=f"{path}: exists and is not a bundle; choose another --out"):
            refuse_to_overwrite(path, force=True)


@pytest.mark.parametrize("out", ["toy", "new/folder/toy"])
def test_a_folder_that_cannot_be_written_is_refused_beforehand(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_overwrite(tmp_path / out, force=False)
    assert not list(tmp_path.iterdir())

    def read_only(**place: Path) -> Never:
        raise PermissionError(errno.EACCES, "Permission denied", f"{place}/scratch")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)  # chmod does not keep root out
    where = (tmp_path / out).parent
    with pytest.raises(BundleError, match=f"^{where}: cannot be written, {tmp_path}: Permission denied; choose anoth"):
        refuse_to_overwrite(tmp_path / out, force=False)


@pytest.mark.parametrize("name", ["My Bundle", "toy?", "-toy", "x" * 65, ""])
def test_a_name_that_no_bundle_may_have_is_refused_beforehand(name: str, tmp_path: Path) -> None:
    out = tmp_path / name if name else Path()
    with pytest.raises(BundleError, match=r"expected a folder whose name a bundle may have, .* got ") as refusal:
        refuse_to_overwrite(out, force=True)
    assert str(refusal.value).startswith(f"{out}: ") and repr(name) in str(refusal.value)
