"""export/own_images_cli.py: from a folder of real photos to a bundle, and every folder that cannot become one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from export import cli, own_images_cli
from export.data.held_out import held_out
from export.own_images_cli import parse_eps
from export.training import train
from runtime.bundle import load_bundle
from runtime.errors import InvalidValue
from tests.pictures import write_classes

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
QUICK = ("--size", "16", "--epochs", "2")

Invoke = Callable[..., Result]


@pytest.fixture
def empir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """`empir train --images ARGUMENTS` beside a folder `photos`, on a wide page, with a cache of its own."""
    shutil.copytree(PHOTOS, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.main, ["train", "--images", *arguments])


def test_a_folder_becomes_a_bundle_that_can_be_proved_and_evaluated(empir: Invoke, tmp_path: Path) -> None:
    (tmp_path / "photos" / "grass" / "00.jpg").write_bytes(b"spoilt")
    shutil.copy(tmp_path / "photos" / "grass" / "01.jpg", tmp_path / "photos" / "gravel" / "01.jpg")
    result = empir("photos", "--out", "bundles/mine", "--seed", "3", "--skip-unreadable", *QUICK)
    assert result.exit_code == 0, result.output
    manifest = load_bundle(tmp_path / "bundles" / "mine", gradients=True).manifest

    twice = "the same picture is in two classes, 1 time, and can be right in one only: grass/01.jpg = gravel/01.jpg\n"
    assert twice in result.output
    assert "photos: 3 classes" in result.output and "1 unreadable image is left out: grass/00.jpg (" in result.output
    assert _row(result, "brick") == ["brick", "21", "3", "6"]
    assert manifest.labels == ("brick", "grass", "gravel")
    assert [member.name for member in manifest.members] == ["fp32", "w8a8", "w4a4"]
    assert (manifest.input.channels, manifest.input.height) == (1, 16)
    source = manifest.provenance
    assert (source.data_set, source.seed, source.skipped_images) == ("photos", 3, 1)
    assert source.command == (
        "empir train --images photos --out bundles/mine --size 16 --epochs 2 --seed 3 --members fp32,w8a8,w4a4 "
        "--skip-unreadable"
    )
    assert f"the ensemble  {manifest.clean_accuracy:.1%}".split() == _row(result, "the ensemble")
    fp32 = manifest.members[0].clean_accuracy
    assert f"its member fp32 alone {fp32:.1%}".split() == _row(result, "its member fp32 alone")
    assert _row(result, 'always "')[-1].endswith("%")
    for command in (
        "predict photos/brick/",
        "probe photos/brick/",
        "evaluate mine --data-dir photos",
        "serve --default mine",
    ):
        assert f"  empir {command}" in result.output

    assert held_out(manifest, Path("photos")).classes.tolist().count(0) == 6
    check = CliRunner().invoke(cli.main, ["check", "mine", "--data-dir", "photos"])
    assert check.exit_code == 0 and "mine agrees with PyTorch" in check.output, check.output


def _row(result: Result, head: str) -> list[str]:
    (line,) = (line for line in result.output.splitlines() if line.startswith(f"  {head}"))
    return line.split()


def test_a_robust_training_is_watched_under_attack_and_says_so(empir: Invoke, tmp_path: Path) -> None:
    result = empir("photos", "--robust", "--eps", "2/255", "--members", "w4a4", *QUICK)
    assert result.exit_code == 0, result.output
    assert "against attacks of 2/255 (Linf)" in result.output
    assert "w4a4, its twin, epoch 2/2: loss" in result.output and ", attacked " in result.output
    manifest = load_bundle(tmp_path / "bundles" / "photos", gradients=True).manifest
    assert "--robust --eps 2/255" in manifest.provenance.command
    assert manifest.description.endswith(", against attacks of up to 2/255 (Linf).")


def test_after_an_interruption_the_same_command_goes_on_and_another_does_not(
    empir: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("photos", "--size", "16", "--minutes", "0.1", "--members", "fp32")
    with monkeypatch.context() as patch:
        patch.setattr(own_images_cli, "epochs_within", lambda *_: 3)
        patch.setattr(train, "accuracy", _interrupt_at(2))
        interrupted = empir(*arguments)
    assert interrupted.exit_code == 130 and "The same command goes on from there" in interrupted.output

    other = empir("photos", "--size", "24", "--minutes", "0.1", "--members", "fp32")
    assert other.exit_code == 1 and "a training was begun there with size 16, now 24" in other.output

    again = empir(*arguments)
    assert again.exit_code == 0, again.output
    assert "fp32, epoch 1/3" not in again.output and "fp32, epoch 3/3" in again.output
    assert not (tmp_path / "bundles" / "photos.training").exists()


def _interrupt_at(call: int) -> Callable[..., float]:
    calls = iter(range(1, 100))

    def accuracy(*_: object) -> float:
        if next(calls) == call:
            raise KeyboardInterrupt
        return 0.5

    return accuracy


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        pytest.param(
            {"cat": 20, "dog": 3}, "pets: expected at least 10 images of each class, got 3 of dog", id="three"
        ),
        pytest.param(
            {"cat": 20}, "pets: expected a folder of images for each of two or more classes, got only cat", id="one"
        ),
        pytest.param({}, "pets: expected a folder of images for each of two or more classes, got none", id="none"),
        pytest.param({"cat": 20, "dog": 0}, "pets/dog: expected images of this class", id="empty class"),
        pytest.param(None, "pets: expected a folder (train/CLASS/IMAGE", id="no folder"),
    ],
)
def test_a_bad_folder_is_named_before_any_training(
    counts: dict[str, int] | None, message: str, empir: Invoke, tmp_path: Path
) -> None:
    for name in counts or ():
        (tmp_path / "pets" / name).mkdir(parents=True)
    if counts is not None:
        (tmp_path / "pets").mkdir(exist_ok=True)
        write_classes(tmp_path / "pets", counts)
    result = empir("pets", *QUICK)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {message}") and result.output.count("\n") == 1
    assert not (tmp_path / "bundles").exists()


def test_an_unreadable_image_is_named_before_any_training(empir: Invoke, tmp_path: Path) -> None:
    (tmp_path / "photos" / "gravel" / "29.jpg").write_bytes((PHOTOS / "gravel" / "29.jpg").read_bytes()[:300])
    result = empir("photos", *QUICK)
    assert result.exit_code == 1
    assert "Error: photos: 1 image cannot be read: gravel/29.jpg (" in result.output
    assert "--skip-unreadable" in result.output and "epoch" not in result.output


def test_a_folder_that_is_there_is_not_written_over(empir: Invoke, tmp_path: Path) -> None:
    result = empir("photos", "--out", "photos", *QUICK)
    assert (result.exit_code, result.output) == (1, "Error: photos: exists and is not a bundle; choose another --out\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--members", "int8"], "--members: precision: expected fp32, or w1a1 to w8a8, got 'int8'"),
        (["--eps", "4/255"], "--eps: goes with --robust"),
        (["--robust", "--eps", "4/0"], "--eps: expected a number, or a fraction like 4/255, got '4/0'"),
        (["--robust", "--eps", "8"], "--eps: expected more than 0 and at most 0.5, got 8"),
        (["--epochs", "3", "--minutes", "3"], "expected --epochs or --minutes, got both"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], message: str, empir: Invoke) -> None:
    result = empir("photos", *arguments)
    assert result.exit_code == 1 and result.output.startswith(f"Error: {message}")


def test_options_of_own_images_go_with_images_alone() -> None:
    result = CliRunner().invoke(cli.main, ["train", "mnist", "--seed", "0"])
    assert result.exit_code == 2 and "--seed goes with --images DIR" in result.output
    result = CliRunner().invoke(cli.main, ["train", "mnist", "--images", "photos"])
    assert result.exit_code == 2 and "expected a recipe or --images, got both" in result.output


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), ("0.1", 0.1), ("0.5", 0.5)])
def test_eps_is_a_number_or_a_fraction(text: str, value: float) -> None:
    assert parse_eps(text) == value
    with pytest.raises(InvalidValue, match=r"^--eps: expected more than 0"):
        parse_eps("0")
