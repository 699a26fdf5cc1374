"""`empir check BUNDLE FILE.npz`: whose images hold, what they leave of the report, and how that is said."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import empir
from robustness.claims.check_cli import main
from robustness.reporting.report import REPORT, DrawnImages
from runtime.bundle import MANIFEST, load_bundle
from runtime.ensemble import Ensemble
from tests.toy_bundle import ToyBundle
from tests.toy_report import N, toy_report
from tests.toys import Array


@pytest.fixture(scope="module")
def test_set(toy: ToyBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "quadrants.npz"
    np.savez(path, images=toy.images, labels=toy.classes)
    return path


@pytest.fixture(scope="module")
def adversarial(toy: ToyBundle) -> Array:
    """For each image one that the served vote gives another class: any in the space of images, eps 1."""
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    verdict = ensemble.predict(toy.images, "full").verdict
    ensemble.close()
    others = [int(np.flatnonzero(verdict != label)[0]) for label in toy.classes]
    return toy.images[others]


def claim(folder: Path, toy: ToyBundle, adversarial: Array, chosen: list[int], **changes: Any) -> Path:
    path = folder / "claim.npz"
    arrays = {"images": adversarial[chosen], "labels": toy.classes[chosen], "indices": np.array(chosen)}
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


def run(bundle: Path, file: Path, test_set: Path, *options: str) -> Result:
    where = ("--bundles", str(bundle.parent), "--images", str(test_set))
    return CliRunner().invoke(main, ["check", bundle.name, str(file), *where, *options])


def lines(result: Result, exit_code: int) -> list[str]:
    assert (result.exit_code, result.stderr) == (exit_code, ""), result.output
    return result.stdout.splitlines()


def attach(folder: Path, toy: ToyBundle, test_set: Path, **changes: Any) -> None:
    """Give the copy of a bundle a report on the test set's first images: 5, 6 and 7 withstood it."""
    manifest = toy.manifest.model_copy(update={"report": REPORT})
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    sums = {test_set.name: hashlib.sha256(test_set.read_bytes()).hexdigest()}
    images = DrawnImages(data_set=test_set.stem, sums=sums, total=24, n=N, indices=list(range(N)))
    report = toy_report(manifest, **{"images": images, "eps": 1.0, **changes})
    (folder / REPORT).write_text(report.model_dump_json())


def test_images_that_hold(toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path) -> None:
    file = claim(tmp_path, toy, adversarial, [3, 0, 3])
    head, verdict, report = lines(run(toy.folder, file, test_set, "--eps", "1"), 0)
    assert head == "claim.npz: 3 images against toy 1, L∞ 1"
    assert verdict == "3 of 3 hold: near, in [0, 1], and misclassified by the served vote"
    assert report == "the bundle has no report whose worst case it could lower"


def test_for_machines_each_image_has_its_judgement(
    toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    images = adversarial.copy()
    images[1] = toy.images[1]  # classified rightly
    result = run(toy.folder, claim(tmp_path, toy, images, [0, 1]), test_set, "--eps", "1", "--json")
    document = json.loads("".join(lines(result, 1)))
    assert (document["holds"], document["near"], document["misclassified"]) == (
        [True, False],
        [True] * 2,
        [True, False],
    )
    assert (document["bundle"], document["norm"], document["eps"]) == ({"name": "toy", "version": "1"}, "linf", 1)
    assert document["size"][1] == 0 and document["worst_case"] is None


def test_images_that_do_not_hold_are_named_with_the_reason(
    toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    images = adversarial[:4].copy()
    images[1] = toy.images[1]
    images[2, 0, 0, 0] = 1.25
    file = claim(tmp_path, toy, adversarial, [0, 1, 2, 3], images=images)
    _, verdict, outside, right, _ = lines(run(toy.folder, file, test_set, "--eps", "1"), 1)
    assert verdict.startswith("2 of 4 hold")
    assert outside == "1 outside [0, 1]: image 2"
    assert right == "1 classified rightly: image 1"
    _, verdict, far, *_ = lines(run(toy.folder, file, test_set, "--eps", "0.01"), 1)
    assert verdict.startswith("0 of 4 hold")
    sizes = np.abs(images - toy.images[:4]).max(axis=(1, 2, 3))
    assert far == "3 farther from its test image than eps: " + ", ".join(
        f"image {k} by {sizes[k]:.4g}" for k in (0, 2, 3)
    )


def test_eps_counts_to_the_last_digit(toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path) -> None:
    """At its own size an image holds, a little below it does not."""
    size = float(np.abs(adversarial[0] - toy.images[0]).max())
    file = claim(tmp_path, toy, adversarial, [0])
    lines(run(toy.folder, file, test_set, "--eps", f"{size:.7f}"), 0)
    lines(run(toy.folder, file, test_set, "--eps", f"{size - 1e-4:.7f}"), 1)


def test_the_files_own_ball_counts_unless_an_option_says_another(
    toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    file = claim(tmp_path, toy, adversarial, [0], norm="l2", eps=7.5)
    assert lines(run(toy.folder, file, test_set), 0)[0].endswith("L2 7.5")
    assert lines(run(toy.folder, file, test_set, "--eps", "8"), 0)[0].endswith("L2 8")
    assert lines(run(toy.folder, file, test_set, "--norm", "linf"), 1)[0].endswith("L∞ 0.3")


def test_originals_are_found_among_the_test_images(
    toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    originals = toy.images[[9, 2]]
    file = claim(tmp_path, toy, adversarial, [9, 2], indices=None, originals=originals)
    lines(run(toy.folder, file, test_set, "--eps", "1"), 0)
    file = claim(
        tmp_path, toy, adversarial, [9, 2], indices=None, originals=np.stack([originals[0], adversarial[2] / 2])
    )
    result = run(toy.folder, file, test_set)
    assert result.exit_code == 1
    assert "originals[1]: expected one of 24 test images of quadrants, got another" in result.stderr


def test_a_claim_lowers_the_worst_case_by_the_images_that_had_withstood(
    toy: ToyBundle, toy_copy: Path, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    attach(toy_copy, toy, test_set)
    file = claim(tmp_path, toy, adversarial, [1, 5, 7, 5, 20])  # broken already, withstood twice, one twice, not in it
    head, _, report = lines(run(toy_copy, file, test_set), 0)
    assert head.endswith("L∞ 1")  # the report's ball
    assert report == (
        "the worst case of the bundle's report (adaptive, L∞ 1, n = 8) falls from 37.5% to 12.5%: 2 test images fall "
        "that had withstood every attack"
    )


def test_only_images_in_the_reports_own_ball_lower_it(
    toy: ToyBundle, toy_copy: Path, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    attach(toy_copy, toy, test_set, eps=0.01)
    file = claim(tmp_path, toy, adversarial, [5, 6])
    *_, report = lines(run(toy_copy, file, test_set, "--eps", "1"), 0)
    assert report == "the worst case of the bundle's report (adaptive, L∞ 0.01, n = 8) stays at 37.5%"
    *_, report = lines(run(toy_copy, file, test_set, "--norm", "l2", "--eps", "8"), 0)
    assert report.endswith("stays at 37.5%")


def test_images_that_do_not_hold_lower_nothing(toy: ToyBundle, toy_copy: Path, test_set: Path, tmp_path: Path) -> None:
    attach(toy_copy, toy, test_set)
    file = claim(tmp_path, toy, toy.images, [5, 6])
    *_, report = lines(run(toy_copy, file, test_set), 1)
    assert report.endswith("stays at 37.5%")


def test_a_report_on_other_images_is_not_compared(
    toy: ToyBundle, toy_copy: Path, adversarial: Array, test_set: Path, tmp_path: Path
) -> None:
    other = DrawnImages(data_set="quadrants", sums={"other": "0"}, total=24, n=N, indices=list(range(N)))
    attach(toy_copy, toy, test_set, images=other)
    *_, report = lines(run(toy_copy, claim(tmp_path, toy, adversarial, [5]), test_set), 0)
    assert report == "the bundle's report is on other test images: its worst case is not compared"


@pytest.mark.parametrize("changed", [False, True], ids=["these", "others"])
def test_a_report_on_files_of_the_same_names_and_sizes_is_compared_by_their_pixels(
    toy: ToyBundle, toy_copy: Path, adversarial: Array, test_set: Path, tmp_path: Path, changed: bool
) -> None:
    pixels = toy.images[:N] * np.float32(0.5 if changed else 1)
    sums = {test_set.name: hashlib.sha256(test_set.read_bytes()).hexdigest()}
    images = DrawnImages(
        data_set="quadrants",
        sums=sums,
        pixels_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
        total=24,
        n=N,
        indices=list(range(N)),
    )
    attach(toy_copy, toy, test_set, images=images)
    *_, report = lines(run(toy_copy, claim(tmp_path, toy, adversarial, [5]), test_set), 0)
    assert ("on other test images: its worst case is not compared" in report) == changed


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"indices": np.array([24])}, "indices[0]: expected 0 to 23, got 24"),
        ({"labels": np.array([1])}, "labels[0]: expected 0, the class of test image 0, got 1"),
        ({"labels": None}, "expected the arrays images, labels"),
    ],
    ids=["no such image", "another label", "no labels"],
)
def test_a_claim_that_does_not_fit_the_test_set_is_refused(
    toy: ToyBundle, adversarial: Array, test_set: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    result = run(toy.folder, claim(tmp_path, toy, adversarial, [0], **changes), test_set)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {tmp_path / 'claim.npz'}: ") and says in line


def test_without_a_file_empir_proves_the_bundle_and_this_package_cannot(toy: ToyBundle) -> None:
    where = ["check", "toy", "--bundles", str(toy.folder.parent)]
    alone = CliRunner().invoke(main, where)
    assert alone.exit_code == 2 and "expected FILE" in alone.stderr
    for options in ([], ["--json"]):
        handed = CliRunner().invoke(empir.main, where + options)
        assert handed.exit_code == 1 and "made by the recipe 'toy', which does not exist here" in handed.stderr


def test_without_images_the_bundles_own_test_set_is_asked_for(
    toy: ToyBundle, adversarial: Array, tmp_path: Path
) -> None:
    file = claim(tmp_path, toy, adversarial, [0])
    where = ["check", "toy", str(file), "--bundles", str(toy.folder.parent)]
    assert "expected --images: python -m robustness has no data sets" in CliRunner().invoke(main, where).stderr
    assert "trained on 'quadrants', expected one of" in CliRunner().invoke(empir.main, where).stderr


def test_of_twins_among_the_test_images_the_one_with_the_claims_label_is_meant(
    toy: ToyBundle, adversarial: Array, tmp_path: Path
) -> None:
    """Image 2 once more at the end of the test set, with another label."""
    twins = tmp_path / "twins.npz"
    images, labels = np.concatenate([toy.images, toy.images[2:3]]), np.append(toy.classes, (toy.classes[2] + 1) % 4)
    np.savez(twins, images=images, labels=labels)
    file = claim(tmp_path, toy, adversarial, [2], indices=None, originals=toy.images[2:3])
    lines(run(toy.folder, file, twins, "--eps", "1"), 0)
