"""`empir probe`: for people, for machines, and on bad input."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from robustness.cli import main, show
from robustness.parameters import AttackParameters
from robustness.probe import probe
from robustness.victim import Victim
from runtime.bundle import MANIFEST
from runtime.images import decode_image, encode_png
from tests.toy_bundle import LABELS, ToyBundle


@pytest.fixture
def picture(toy: ToyBundle, tmp_path: Path) -> Path:
    """The toy bundle's first image, in a file."""
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(toy.images[0]))
    return path


def run(bundle: Path, *arguments: str | Path) -> Result:
    """Run `probe` on a bundle, as in a window of 120 columns."""
    where = ("--bundles", str(bundle.parent), "--bundle", bundle.name)
    return CliRunner().invoke(main, ["probe", *where, *(str(each) for each in arguments)], env={"COLUMNS": "120"})


def error_of(result: Result) -> str:
    """The one line that a failed command says."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_for_machines_it_is_the_report(toy: ToyBundle, picture: Path) -> None:
    result = run(toy.folder, "--json", "--eps", "1/2", "--seed", "3", picture)
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert (report["outcome"], report["confirmed_on_served"]) == ("broken", True)
    assert (report["attack"]["eps"], report["attack"]["seed"], report["clean"]["label"]) == (0.5, 3, LABELS[0])
    again = json.loads(run(toy.folder, "--json", "--eps", "1/2", "--seed", "3", picture).stdout)
    assert {**again, "time_ms": 0} == {**report, "time_ms": 0}


def test_for_people_it_shows_pictures_votes_before_and_after_and_the_verdict(toy: ToyBundle, picture: Path) -> None:
    result = run(toy.folder, "--eps", "0.5", picture)
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(run(toy.folder, "--eps", "0.5", "--json", picture).stdout)
    for part in ("the vote is broken", "linf eps 0.5", "image: ", "attacked: ", "margin before"):
        assert part in result.stdout
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    for member in report["members"]:
        assert rows[member["name"]][2:4] == [member["label_before"], member["label_after"]]
    assert rows["vote"][-2:] == [LABELS[0], report["adversarial"]["label"]]


def test_eps_stands_as_it_was_given_and_a_little_doubt_is_no_certainty(toy: ToyBundle, victim: Victim) -> None:
    report = probe(victim, toy.manifest, toy.images[:1], AttackParameters(eps="4/255"))
    sure = report.clean.model_copy(update={"confidence": 0.99998})
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(show(report.model_copy(update={"clean": sure}), toy.manifest.input.channels, console))
    said = console.export_text()
    assert "linf eps 4/255, " in said and f"{LABELS[0]} (>99.9%)" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--eps", "0.0001", "--steps", "2"), "not broken within the budget (that is not the same as robust)"),
        (("--label", "1"), "wrong before the attack"),
    ],
    ids=["not broken", "wrong before"],
)
def test_an_attack_without_success_says_so_and_exits_with_0(
    toy: ToyBundle, picture: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = run(toy.folder, *arguments, picture)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"the vote is {sentence}" in result.stdout
    assert "image: " in result.stdout and "attacked: " not in result.stdout  # there is none to show
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert rows["vote"][1:] == [LABELS[0]]


@pytest.mark.parametrize(
    ("attack", "effort"), [("cw-l2", "up to 9 steps;"), ("deepfool", "up to 9 steps;"), ("square", "up to 9 queries;")]
)
def test_an_attack_without_a_step_size_says_what_it_may_do(
    toy: ToyBundle, picture: Path, attack: str, effort: str
) -> None:
    result = run(toy.folder, "--attack", attack, "--norm", "l2", "--steps", "9", picture)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"{attack}, l2 eps 2, {effort}" in result.stdout


def test_the_pictures_are_saved(toy: ToyBundle, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    result = run(toy.folder, "--json", "--eps", "0.5", "--save", folder, picture)
    assert result.exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["adversarial.png", "original.png", "perturbation.png"]
    spec = toy.manifest.input
    original, given = (decode_image(path.read_bytes(), spec) for path in (folder / "original.png", picture))
    assert (original == given).all()


def test_pictures_that_cannot_be_saved_are_one_line(toy: ToyBundle, picture: Path, tmp_path: Path) -> None:
    error = error_of(run(toy.folder, "--steps", "1", "--save", tmp_path / "x.png" / "below", picture))
    assert "Not a directory" in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--eps", "NaN"), "eps: expected a number above 0 and up to 1"),
        (("--eps", "1e9"), "eps: expected a number above 0 and up to 1"),
        (("--steps", "1000000000"), "steps: expected 1 to 1000"),
        (("--step-size", "0"), "step_size: expected a number above 0"),
        (("--label", "4"), "label: expected 0 to 3"),
        (("--attack", "fgsm", "--restarts", "2"), "fgsm takes one step"),
        (("--attack", "cw-l2"), "norm: expected l2 for cw-l2, got 'linf'"),
        (("--attack", "deepfool", "--target", "1"), "target: deepfool looks for the smallest change"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_parameter_out_of_range_is_one_line(
    toy: ToyBundle, picture: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in error_of(run(toy.folder, *arguments, picture))


def test_a_choice_that_is_none_is_refused_with_the_choices(toy: ToyBundle, picture: Path) -> None:
    result = run(toy.folder, "--attack", "magic", picture)
    assert result.exit_code == 2
    assert "'magic' is not one of 'fgsm', 'bim', 'mim', 'pgd', 'apgd'" in result.stderr


def test_bad_files_and_bundles_are_named(toy: ToyBundle, picture: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_bytes(b"hello")
    assert error_of(run(toy.folder, tmp_path / "no.png")).endswith("no.png: cannot be read: No such file or directory")
    assert f"{text}: expected PNG" in error_of(run(toy.folder, text))
    assert "(toy), got 'no'" in error_of(run(toy.folder.parent / "no", picture))


def test_a_bundle_without_gradient_graphs_is_attacked_by_queries_alone(toy_copy: Path, picture: Path) -> None:
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    del manifest["members"][0]["gradient_file"], manifest["members"][0]["gradient_sha256"]
    (toy_copy / MANIFEST).write_text(json.dumps(manifest))
    refused = "attack: pgd needs a gradient graph of every member, and w2a4-a has none; expected one that only asks: "
    assert refused in error_of(run(toy_copy, "--attack", "pgd", picture))
    result = run(toy_copy, "--eps", "0.4", picture)
    assert result.exit_code == 0 and "the vote is broken" in result.stdout
    said = " ".join(result.stdout.split())
    assert "square, linf eps 0.4, up to 5,000 queries" in said
    assert "note: no attack was named: square was taken" in said
    assert "note: w2a4-a has no gradient graph: only queries can attack here" in said
