"""`empir predict` and `empir bundles`: for people, for machines, and on bad files."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from runtime.bundle import MAKE, MANIFEST, load_bundle
from runtime.cli import main
from runtime.ensemble import Ensemble
from runtime.images import decode_image, encode_png
from tests.toy_bundle import LABELS, ToyBundle, flip_a_bit, neighbour


def run(*arguments: str | Path) -> Result:
    """Run a command, as in a window of 140 columns."""
    return CliRunner().invoke(main, [str(each) for each in arguments], env={"COLUMNS": "140"})


def error_of(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture
def flags(toy: ToyBundle) -> tuple[str, ...]:
    return ("--bundles", str(toy.folder.parent), "--bundle", "toy")


@pytest.fixture
def pictures(toy: ToyBundle, tmp_path: Path) -> list[Path]:
    """The first four images of the toy bundle, one of each class."""
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for path, image in zip(paths, toy.images, strict=False):
        path.write_bytes(encode_png(image))
    return paths


@pytest.mark.parametrize("mode", ["full", "quorum"])
def test_predict_for_machines_is_one_document_a_line(
    toy: ToyBundle, flags: tuple[str, ...], pictures: list[Path], mode: str
) -> None:
    result = run("predict", *flags, "--mode", mode, "--json", *pictures)
    assert (result.exit_code, result.stderr) == (0, "")
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    for line, path, label in zip(result.stdout.splitlines(), pictures, LABELS, strict=True):
        document = json.loads(line)
        expected = ensemble.predict(decode_image(path.read_bytes(), toy.manifest.input), mode)  # type: ignore[arg-type]
        assert (document["image"], document["label"], document["mode"]) == (str(path), label, mode)
        assert document["confidence"] == pytest.approx(expected.confidence(0), abs=1e-6)
        assert [member["status"] for member in document["members"]] == [row[0] for row in expected.status]
        assert document["latency_ms"].keys() == {"inference", "vote"}
    ensemble.close()


def test_predict_for_people_shows_picture_label_and_members(flags: tuple[str, ...], pictures: list[Path]) -> None:
    result = run("predict", *flags, pictures[2])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "south-west" in result.stdout and "2.png" in result.stdout
    for member in ("w2a4-a", "w2a4-b", "fp32"):
        assert member in result.stdout
    assert "of the members agree" in result.stdout
    assert len(result.stdout.splitlines()) >= 4  # eight rows of pixels, two to a character


def test_nearly_certain_is_not_called_certain(
    flags: tuple[str, ...], pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.prediction.Prediction.confidence", lambda self, index: 0.99996)
    assert ">99.9% confident" in run("predict", *flags, pictures[0]).stdout


def test_predict_says_what_is_suspicious(flags: tuple[str, ...], toy_copy: Path, pictures: list[Path]) -> None:
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    for threshold, expected in ((0.0, True), (1.0, False)):
        names = ["w2a4-a", "w2a4-b", "fp32"]
        manifest["detection"] = {"score": "jensen_shannon", "threshold": threshold, "members": names}
        (toy_copy / MANIFEST).write_text(json.dumps(manifest))
        copy = ("--bundles", toy_copy.parent, "--bundle", "toy")
        assert json.loads(run("predict", *copy, "--json", pictures[0]).stdout)["suspicious"] is expected
        assert ("suspicious" in run("predict", *copy, pictures[0]).stdout) is expected
    assert json.loads(run("predict", *flags, "--json", pictures[0]).stdout)["suspicious"] is None


def test_predict_for_people_says_what_was_skipped(flags: tuple[str, ...], pictures: list[Path]) -> None:
    result = run("predict", *flags, "--mode", "quorum", *pictures)
    assert "skipped" in result.stdout


@dataclass(frozen=True)
class BadFile:
    """A file, and what is said of it after its name."""

    name: str
    content: bytes | None
    says: str


def enormous() -> bytes:
    """More pixels than are read, in a small file."""
    path = np.zeros((1, 1, 1), np.float32)
    return encode_png(np.repeat(np.repeat(path, 5100, axis=1), 5000, axis=2))


BAD_FILES = [
    BadFile("missing.png", None, ": cannot be read: No such file or directory"),
    BadFile("text.png", b"hello", ": expected PNG, JPEG, WEBP, GIF or BMP, got 5 bytes beginning b'hello'"),
    BadFile("empty.png", b"", ": expected PNG, JPEG, WEBP, GIF or BMP, got nothing"),
    BadFile("enormous.png", enormous(), ": expected at most 25,000,000 pixels, got 5000 x 5100"),
]


@pytest.mark.parametrize("bad", BAD_FILES, ids=lambda bad: bad.name)
def test_a_bad_file_is_named_once_and_those_before_it_are_answered(
    flags: tuple[str, ...], pictures: list[Path], tmp_path: Path, bad: BadFile
) -> None:
    path = tmp_path / bad.name
    if bad.content is not None:
        path.write_bytes(bad.content)
    result = run("predict", *flags, "--json", pictures[0], path)
    assert error_of(result) == f"Error: {path}{bad.says}"
    assert json.loads(result.stdout)["label"] == LABELS[0]


def test_a_truncated_picture_and_a_folder_are_named(flags: tuple[str, ...], tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:-500])
    assert f"{cut}: the PNG is damaged or cut off" in error_of(run("predict", *flags, cut))
    assert f"{tmp_path}: cannot be read: Is a directory" in error_of(run("predict", *flags, tmp_path))


def test_an_unknown_bundle_is_refused_with_those_that_are_there(toy: ToyBundle, pictures: list[Path]) -> None:
    where = toy.folder.parent
    error = error_of(run("predict", "--bundles", where, "--bundle", "no", pictures[0]))
    assert error == f"Error: bundle: expected one that is in {where} (toy), got 'no'"
    assert "(none), got 'toy'" in error_of(run("predict", "--bundles", toy.folder, "--bundle", "toy", pictures[0]))
    nowhere = error_of(run("predict", "--bundles", where / "nowhere", pictures[0]))
    assert "nowhere: expected a folder of bundles (--bundles), there is none; empir train" in nowhere


def test_a_corrupt_bundle_is_named(toy_copy: Path, pictures: list[Path]) -> None:
    (toy_copy / "fp32.onnx").write_bytes(b"")
    for command in (("predict", "--bundle", "toy", pictures[0]), ("bundles", "--json")):
        assert "toy/fp32.onnx: corrupt or altered" in error_of(run(*command, "--bundles", toy_copy.parent))


def test_a_damaged_bundle_is_listed_as_such_among_the_others(toy_copy: Path) -> None:
    other = neighbour(toy_copy, "other")
    flip_a_bit(other / "fp32.onnx")
    shown = run("bundles", "--bundles", toy_copy.parent)
    assert error_of(shown) == "Error: 1 of 2 bundles damaged: other"
    damaged, why, whole, *_ = shown.stdout.splitlines()
    assert (damaged, whole[:3]) == ("other  damaged", "toy")
    assert f"{other}/fp32.onnx: corrupt or altered: bundle.json members[2] says sha256 " in why
    listed = run("bundles", "--bundles", toy_copy.parent, "--json")
    assert [manifest["name"] for manifest in json.loads(listed.stdout)] == ["toy"]
    assert f"Error: 1 of 2 bundles damaged: {other}/fp32.onnx: corrupt or altered" in error_of(listed)


def test_quorum_is_refused_for_an_average(toy_copy: Path, pictures: list[Path]) -> None:
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    manifest["vote"]["rule"] = "average"
    (toy_copy / MANIFEST).write_text(json.dumps(manifest))
    flags = ("predict", "--bundles", toy_copy.parent, "--bundle", "toy")
    assert "mode: expected full, got quorum" in error_of(run(*flags, "--mode", "quorum", pictures[0]))
    assert run(*flags, pictures[0]).exit_code == 0


def test_an_unknown_mode_is_refused(pictures: list[Path]) -> None:
    result = run("predict", "--mode", "fast", pictures[0])
    assert result.exit_code == 2
    assert "'fast' is not one of 'full', 'quorum'" in result.stderr


def test_bundles_are_listed_for_people_and_machines(toy: ToyBundle) -> None:
    shown = run("bundles", "--bundles", toy.folder.parent)
    assert (shown.exit_code, shown.stderr) == (0, "")
    name, facts, *about = shown.stdout.splitlines()
    assert name == f"toy  {toy.manifest.version}"
    assert facts.startswith("  w2a4-a, w2a4-b, fp32 · majority vote · 4 classes")
    assert about == ([f"  {toy.manifest.description}"] if toy.manifest.description else [])
    (manifest,) = json.loads(run("bundles", "--bundles", toy.folder.parent, "--json").stdout)
    assert manifest == toy.manifest.model_dump(mode="json")


def test_a_bundle_that_is_being_written_is_not_listed(toy_copy: Path) -> None:
    shutil.copytree(toy_copy, toy_copy.parent / ".toy.1234")
    listed = json.loads(run("bundles", "--bundles", toy_copy.parent, "--json").stdout)
    assert [manifest["name"] for manifest in listed] == ["toy"]


def test_a_folder_without_bundles_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        error = error_of(run("bundles", "--bundles", folder))
        assert error == f"Error: {folder}: expected bundles, folders with a bundle.json; there is none in it; {MAKE}"


def test_variables_choose_the_bundle_too(toy: ToyBundle, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPIR_BUNDLES", str(toy.folder.parent))
    monkeypatch.setenv("EMPIR_DEFAULT", "toy")
    assert json.loads(run("predict", "--json", pictures[1]).stdout)["label"] == LABELS[1]
