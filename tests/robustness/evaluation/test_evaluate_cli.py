"""`empir evaluate`: from a bundle and images to a report, in this process and in others, and on bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import empir
from robustness.evaluation.crew import Alone, Crew, Processes, RayCluster
from robustness.evaluation.evaluate_cli import HEAD, main
from robustness.evaluation.image_sets import BadImages, ImageSet
from robustness.evaluation.journal import Journal, OtherRun
from robustness.evaluation.worker import Task
from robustness.reporting.report import ADVERSARIAL, REPORT, Report
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.images import encode_png
from runtime.manifest import Manifest
from tests.robustness.evaluations import STEPS
from tests.toy_bundle import ToyBundle

N = 4


@pytest.fixture
def images(toy: ToyBundle, tmp_path: Path) -> Path:
    path = tmp_path / "held-out.npz"
    np.savez(path, images=toy.images, labels=toy.classes)
    return path


def run(bundle: Path, images: Path, *arguments: str | Path) -> Result:
    """Evaluate N images by the paper's attacks, in this process."""
    out = ("--out", images.parent / "out")
    fixed = ("--bundles", bundle.parent, "--n", N, "--suite", "empir-2020", "--images", images, "--workers", 1)
    command = ["evaluate", bundle.name, *map(str, (*fixed, *out, *arguments))]
    return CliRunner().invoke(main, command, env={"COLUMNS": "200"})


def error_of(result: Result) -> str:
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("Error: ")


def test_from_a_bundle_to_a_report(toy_copy: Path, toy: ToyBundle, images: Path) -> None:
    result = run(toy_copy, images, "--eps", "0.4", "--attach")
    assert result.exit_code == 0, result.output
    out = images.parent / "out"
    report = Report.model_validate_json((out / REPORT).read_text(encoding="utf-8"))
    assert (report.bundle.name, report.suite, report.eps, report.images.n) == ("toy", "empir-2020", 0.4, N)
    assert report.images.indices == np.random.default_rng(0).permutation(len(toy.images))[:N].tolist()
    assert "written to" in result.stdout and "paper" not in result.stderr
    said = result.stderr.splitlines()
    assert len(said) > 4 and said[-4].startswith("100% done, about 0:00 left: ")
    assert said[-3:] == [
        f"attacks done; {what}" for what in ("the checks", "the detector, against three attackers", "what it costs")
    ]
    assert not (images.parent / "out.work").exists()
    assert report.paper is not None and [row.paper for row in report.paper.rows] == [None, None]
    assert {"clean", "cw", "fgsm", "bim", "pgd"} == set(report.paper.rows[1].ours)
    smaller = [row for row in report.attacks if row.parameters.get("eps") == 0.3 and row.purpose == "worst case"]
    assert [row.name for row in smaller] == ["pgd-mean_probability at eps 0.3", "apgd-joint_margin at eps 0.3"]
    left = min(row.accuracy.count for row in smaller if row.accuracy is not None)
    sentence = report.paper.warnings[-1]
    assert left >= report.robust.count and sentence.startswith("At eps 0.3, ") and f"leave {left / N:.1%}" in sentence
    assert [row.own is None for row in report.members] == [True, True, False]  # only full precision, in the paper
    counts = [image.outcome for image in report.per_image]
    assert report.robust.count == counts.count("not_broken") and report.robust.n == N
    with np.load(out / ADVERSARIAL) as saved:
        verdict = Ensemble.of_bundle(load_bundle(toy_copy)).predict(saved["images"]).verdict
        assert (verdict != saved["labels"]).all() and len(verdict) == counts.count("broken")
        np.testing.assert_array_equal(saved["labels"], toy.classes[saved["indices"]])
        assert np.abs(saved["images"] - toy.images[saved["indices"]]).max() <= 0.4 + 1e-6
    attached = load_bundle(toy_copy, gradients=True).manifest
    assert (attached.report, attached.version) == (REPORT, toy.manifest.version)
    assert (toy_copy / REPORT).read_bytes() == (out / REPORT).read_bytes()
    assert error_of(run(toy_copy, images)).endswith("there is a report already; expected --force, or another --out")
    again = run(toy_copy, images, "--eps", "0.4", "--force", "--json")
    head = json.loads(again.stdout)
    assert head.pop("out") == str(out)
    assert head == report.model_dump(mode="json", include=HEAD) and "robust" in head


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--suite", "magic"), "suite: expected one of adaptive, empir-2020, autoattack, got 'magic'"),
        (("--eps", "2"), "eps: expected a number above 0 and up to 1, or a fraction like 8/255, got 2"),
        (("--n", "1000"), "n: expected 1 to 24, the images of the test set held-out, got 1000"),
    ],
    ids=["suite", "eps", "n"],
)
def test_bad_input_is_one_line_and_replaces_nothing(
    toy: ToyBundle, images: Path, arguments: tuple[str, ...], says: str
) -> None:
    there = images.parent / "out" / REPORT
    there.parent.mkdir()
    there.write_text("an older report")
    assert error_of(run(toy.folder, images, "--force", *arguments)) == says
    assert there.read_text() == "an older report"


def test_unreadable_images_are_named_or_left_out_and_counted(toy: ToyBundle, tmp_path: Path) -> None:
    for place, (image, label) in enumerate(zip(toy.images[:N], toy.classes[:N], strict=True)):
        path = tmp_path / "pictures" / str(label) / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(image))
    broken = tmp_path / "pictures" / "0" / "broken.png"
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(b"hello")
    refused = error_of(run(toy.folder, tmp_path / "pictures", "--n", "5"))
    assert refused.startswith(f"{broken}: cannot be read") and refused.endswith("leave it out: --skip-unreadable")
    assert not (tmp_path / "out").exists()
    result = run(toy.folder, tmp_path / "pictures", "--seed", "3", "--skip-unreadable")
    assert result.exit_code == 0, result.output
    report = Report.model_validate_json((tmp_path / "out" / REPORT).read_text(encoding="utf-8"))
    assert list(report.images.unreadable) == ["0/broken.png"] and report.images.n == N
    assert "Unreadable images left out of pictures: 1 (0/broken.png)." in report.summary


def test_the_bundles_own_test_set_is_told_whether_to_leave_unreadable_images_out(toy: ToyBundle) -> None:
    told: list[bool] = []

    def held_out(manifest: Manifest, data_dir: Path | None, skip_unreadable: bool) -> ImageSet:
        told.append(skip_unreadable)
        raise BadImages("nothing here")

    for flags in ((), ("--skip-unreadable",)):
        arguments = ["evaluate", "toy", "--bundles", str(toy.folder.parent), *flags]
        assert error_of(CliRunner().invoke(main, arguments, obj=held_out)) == "nothing here"
    assert told == [False, True]


def test_another_evaluation_in_the_folder_is_refused(toy: ToyBundle, images: Path) -> None:
    work = images.parent / "out.work"
    work.mkdir()
    (work / "plan.json").write_text(json.dumps({"bundle": "other"}))
    (work / "chunk-0000").mkdir()
    (work / "notes.txt").write_text("mine")
    assert "belongs to another evaluation: bundle is" in error_of(run(toy.folder, images))
    with pytest.raises(OtherRun):
        Journal(work, {"bundle": "toy"})
    Journal(work, {"bundle": "toy"}, replace=True)
    assert {each.name for each in work.iterdir()} == {"plan.json", "notes.txt"}
    Journal(work, {"bundle": "toy"}).remove()


def test_without_images_the_bundles_own_test_set_is_asked_for(toy: ToyBundle) -> None:
    arguments = ["evaluate", "toy", "--bundles", str(toy.folder.parent)]
    alone = CliRunner().invoke(main, arguments)
    assert "expected --images" in error_of(alone)
    with_export = CliRunner().invoke(empir.main, arguments)
    assert "toy: trained on 'quadrants', expected one of MNIST, CIFAR-10" in error_of(with_export)


@pytest.mark.parametrize(
    "error", [ConnectionError("nobody there"), RuntimeError("nobody there"), ValueError("nobody there")]
)
def test_a_cluster_that_does_not_let_us_in_is_named_with_what_may_be_missing(
    toy: ToyBundle, images: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**options: object) -> None:
        raise error

    monkeypatch.setattr("ray.init", refuse)
    said = error_of(run(toy.folder, images, "--ray", "far.example:6379"))
    assert said.startswith("ray: expected a cluster at 'far.example:6379': nobody there; if it asks for a token")
    assert [path.name for path in images.parent.iterdir()] == [images.name]


@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_workers_elsewhere_find_what_this_process_finds(toy: ToyBundle, kind: str) -> None:
    bundle = load_bundle(toy.folder, gradients=True)
    tasks = [Task(step, toy.images[:3], toy.classes[:3], (0, 0, number)) for number, step in enumerate(STEPS[:3])]
    here: Crew = Alone.of_bundle(bundle)
    there: Crew = Processes(bundle, 1) if kind == "processes" else RayCluster(bundle, "local", 1)
    try:
        futures = [there.submit(task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            expected, outcome = here.submit(task).result(), future.result(timeout=120)
            np.testing.assert_array_equal(outcome.images, expected.images)
            np.testing.assert_array_equal(outcome.judged.votes, expected.judged.votes)
    finally:
        here.close()
        there.close()
