"""Suites: what is in them, what a bundle without gradients is left with, and names that do not exist."""

from dataclasses import replace

import pytest

from robustness.evaluation.steps import CLEAN, Step, build, described
from robustness.evaluation.suites import SUITES, Target, make_suite, suite_eps
from robustness.reporting.report import VOTE
from runtime.errors import InvalidValue
from runtime.manifest import Manifest
from tests.linear_victim import LINEAR_MANIFEST, NAMES
from tests.robustness.evaluations import with_graphs, without_graphs


def suite(name: str, manifest: Manifest | None = None) -> list[Step]:
    return make_suite(name, Target(manifest or with_graphs(), "linf", 0.3))


@pytest.mark.parametrize("name", SUITES)
def test_every_step_is_an_attack_of_its_own_and_says_what_it_is(name: str) -> None:
    steps = suite(name)
    assert steps[0].attack == CLEAN
    names = [(step.name, step.purpose) for step in steps]
    assert len(set(names)) == len(names)
    for step in steps[1:]:
        assert build(step).name
        assert described(step)["parameters"]
        assert step.cost > 0


def test_adaptive_has_every_kind_of_loss_each_member_alone_and_both_kinds_of_queries() -> None:
    steps = [step for step in suite("adaptive") if step.purpose == "worst case"]
    on_vote = {step.attack for step in steps if step.on == VOTE}
    terms = ("probability", "log_probability", "margin", "nearness", "dlr")
    losses = {f"{form}_{term}" for form in ("mean", "joint") for term in terms}
    assert {f"apgd-{loss}" for loss in losses} <= on_vote
    assert {f"apgd-alone:{name}" for name in NAMES} <= on_vote
    assert {"square", "hopskipjump"} <= on_vote
    assert {step.on for step in steps} == {VOTE, *NAMES}


@pytest.mark.parametrize("name", ["adaptive", "autoattack"])
def test_in_l2_attacks_that_minimise_it_are_there_too(name: str) -> None:
    in_l2 = make_suite(name, Target(with_graphs(), "l2", 2.0))
    more = {step.attack for step in in_l2} - {step.attack for step in suite(name)}
    assert more == {"cw-l2", "deepfool"}
    for step in in_l2:
        if step.attack in more:
            assert (step.on, step.purpose, step.cascade, step.ball) == (VOTE, "worst case", True, ("l2", 2.0))
            assert described(step)["parameters"]["eps"] == 2.0 and step.cost > 100


@pytest.mark.parametrize("name", SUITES)
def test_a_halved_attack_tells_when_and_costs_less(name: str) -> None:
    steps = [step for step in suite(name) if step.settings.halve]
    assert steps
    for step in steps:
        assert described(step)["parameters"]["halve_at"]
        assert step.cost < replace(step, settings=replace(step.settings, halve=False)).cost / 2


def test_the_papers_attacks_have_the_papers_parameters() -> None:
    steps = {(step.attack, step.on): step for step in suite("empir-2020") if step.purpose == "paper"}
    assert {on for _, on in steps} == {VOTE, "fp32"} and len(steps) == 8
    of = {name: described(steps[f"empir-2020-{name}", VOTE]) for name in ("cw", "fgsm", "bim", "pgd")}
    wanted = {"c": 10.0, "learning_rate": 0.1, "steps": 50, "search_steps": 1, "confidence": 0.0, "member": "fp32"}
    wanted |= {"inside": 0.999999, "transfer": True}
    assert wanted.items() <= of["cw"]["parameters"].items()
    assert {"steps": 1, "step_size": 0.3, "member": None}.items() <= of["fgsm"]["parameters"].items()
    iterated = {"steps": 40, "step_size": 0.01, "eps": 0.3}
    assert (iterated | {"random_start": False, "member": "fp32"}).items() <= of["bim"]["parameters"].items()
    assert (iterated | {"random_start": True, "member": None}).items() <= of["pgd"]["parameters"].items()
    assert {each["labels"] for each in of.values()} == {"clean verdict"}
    assert not any(each["cascade"] for each in of.values())
    assert all("transfer" in steps[f"empir-2020-{name}", VOTE].note for name in ("cw", "bim"))


@pytest.mark.parametrize(("name", "looks"), [("adaptive", True), ("autoattack", True), ("empir-2020", False)])
def test_the_curve_looks_just_beyond_what_a_bundle_was_trained_for(name: str, looks: bool) -> None:
    steps = {step.settings.eps: step for step in suite(name) if step.purpose == "curve" and step.on == VOTE}
    assert (0.33 in steps) is looks
    assert {eps for eps, step in steps.items() if step.settings.halve} == {0.075, 0.15, 0.225, 0.3} | {0.33} & {*steps}


def test_an_eps_in_a_name_is_as_people_write_it() -> None:
    steps = make_suite("empir-2020", Target(with_graphs(), "l2", 4.0))
    names = [step.name for step in steps if " at eps " in step.name]
    assert names == ["pgd-mean_probability at eps 2", "apgd-joint_margin at eps 2"]
    of_255 = make_suite("adaptive", Target(with_graphs(), "linf", 8 / 255))
    assert "curve: eps 8/255 on fp32" in {step.name for step in of_255}


def test_without_gradient_graphs_queries_are_left() -> None:
    steps = suite("adaptive", without_graphs())
    assert {step.attack for step in steps} == {CLEAN, "square", "hopskipjump"}
    one = with_graphs().members
    partly = LINEAR_MANIFEST.model_copy(update={"members": (*without_graphs().members[:1], *one[1:])})
    climbed = [step for step in suite("adaptive", partly) if step.attack.startswith("apgd")]
    assert {step.on for step in climbed} == {"low-b", "fp32"}
    assert {step.on for step in suite("adaptive", partly) if step.attack == "square"} == {VOTE, *NAMES}
    with pytest.raises(InvalidValue, match="and low-a has none; expected adaptive"):
        suite("empir-2020", partly)


def test_of_autoattack_that_by_queries_is_left_without_gradient_graphs() -> None:
    asked = [step for step in suite("autoattack", without_graphs()) if step.attack == "autoattack-square"]
    assert [step.on for step in asked] == [VOTE, *NAMES]
    assert {step.attack for step in suite("autoattack", without_graphs())} == {
        *(CLEAN, "square", "hopskipjump", "autoattack-square"),
    }


def test_a_suite_of_which_nothing_is_left_is_refused_with_the_one_that_works() -> None:
    with pytest.raises(
        InvalidValue,
        match=r"^suite: empir-2020 needs gradient graphs, and low-a, low-b, fp32 have none; expected adaptive, which "
        "asks queries too$",
    ):
        suite("empir-2020", without_graphs())


def test_a_suite_that_does_not_exist_gets_the_list_of_those_that_do() -> None:
    with pytest.raises(InvalidValue, match=r"suite: expected one of adaptive, empir-2020, autoattack, got 'magic'"):
        suite("magic")
    low = LINEAR_MANIFEST.members[:2]
    vote = LINEAR_MANIFEST.vote.model_copy(update={"tie_breaker": "low-a"})
    with pytest.raises(InvalidValue, match="this bundle has none"):
        suite("empir-2020", LINEAR_MANIFEST.model_copy(update={"members": low, "vote": vote}))


def test_the_usual_eps() -> None:
    photos = LINEAR_MANIFEST.input.model_copy(update={"channels": 3})
    scaled = photos.model_copy(update={"std": (0.2, 0.2, 0.3), "mean": (0.5, 0.5, 0.5)})
    levels = scaled.model_copy(update={"value_range": (0.0, 255.0), "std": (51.0, 51.0, 76.5)})
    large = photos.model_copy(update={"height": 224, "width": 224})
    of = {
        spec: [suite_eps(name, "linf", LINEAR_MANIFEST.model_copy(update={"input": spec})) for name in SUITES]
        for spec in (LINEAR_MANIFEST.input, photos, scaled, levels, large)
    }
    assert of[LINEAR_MANIFEST.input] == [0.3] * 3
    assert of[photos] == [8 / 255, 0.1, 8 / 255]
    assert [of[scaled][1], of[levels][1]] == pytest.approx([0.1 * 0.7 / 3] * 2)
    assert of[large][1] == pytest.approx(0.1 * 0.226)  # of ImageNet's standard deviation
