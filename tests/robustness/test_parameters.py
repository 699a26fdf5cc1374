"""Attack parameters: what is refused and by which name, and what is filled in."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.parameters import (
    ATTACKS,
    QUERY_ATTACKS,
    SMALLEST_ATTACKS,
    AttackParameters,
    plan,
    require_gradients,
)
from runtime.errors import InvalidValue
from tests.toys import FP32, toy_entry, toy_manifest

ENTRY = toy_entry("m", FP32, gradient_file="m.gradient.onnx", gradient_sha256="0" * 64)
MANIFESTS = {channels: toy_manifest([ENTRY], "m", (channels, 8, 8), labels=("a", "b", "c", "d")) for channels in (1, 3)}
GREY = MANIFESTS[1]

NOT_A_SIZE = [math.nan, math.inf, -1, 0, 1e9, "a/b", "8/0", "1/2/3", "", "nan", "inf/inf", "-8/255", "8,5", "\u0663/0"]


@pytest.mark.parametrize("value", NOT_A_SIZE, ids=repr)
@pytest.mark.parametrize("name", ["eps", "step_size"])
def test_sizes_out_of_range(name: str, value: str | float) -> None:
    with pytest.raises(
        InvalidValue, match=rf"^{name}: expected a number above 0 and up to 1, or a fraction like 8/255"
    ):
        plan(AttackParameters(**{name: value}), GREY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("attack", "cw", "fgsm or bim or mim or pgd or apgd or cw-l2 or deepfool or square or hopskipjump"),
        ("attack", "PGD", "fgsm or bim or mim or pgd or apgd"),
        ("norm", "l1", "linf or l2"),
        ("steps", 0, "1 to 1000"),
        ("steps", 10**9, "1 to 1000"),
        ("restarts", 0, "1 to 20"),
        ("restarts", 21, "1 to 20"),
        ("label", -1, "0 to 3"),
        ("label", 4, "0 to 3"),
        ("target", -1, "0 to 3"),
        ("target", 4, "0 to 3"),
        ("seed", -1, "0 to "),
        ("seed", 2**63, "0 to "),
        ("budget_ms", 0, "1 to 30000"),
        ("budget_ms", 30_001, "1 to 30000"),
    ],
)
def test_values_out_of_range(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InvalidValue, match=rf"^{name}: expected {expected}.*, got {value!r}$"):
        plan(AttackParameters(**{name: value}), GREY)


@pytest.mark.parametrize("parameters", [AttackParameters("fgsm", steps=10), AttackParameters("fgsm", restarts=2)])
def test_fgsm_takes_one_step_once(parameters: AttackParameters) -> None:
    with pytest.raises(InvalidValue, match=r"^steps, restarts: fgsm takes one step, once"):
        plan(parameters, GREY)


@pytest.mark.parametrize("attack", ["bim", "mim"])
def test_an_attack_that_starts_from_the_image_starts_once(attack: str) -> None:
    assert not plan(AttackParameters(attack), GREY).schedule.random_start
    with pytest.raises(InvalidValue, match=rf"^restarts: {attack} has no random start; expected 1, or pgd"):
        plan(AttackParameters(attack, restarts=2), GREY)


def test_apgd_begins_with_steps_of_2_eps_unless_told_otherwise() -> None:
    chosen = plan(AttackParameters("apgd", eps=0.2), GREY).schedule
    assert (chosen.stepper, chosen.random_start, chosen.step_size) == ("adaptive", True, 0.4)
    assert plan(AttackParameters("apgd", eps=0.2, step_size=0.1), GREY).schedule.step_size == 0.1


def test_mim_keeps_all_gradients() -> None:
    assert [plan(AttackParameters(attack), GREY).schedule.decay for attack in ("mim", "bim")] == [1, 0]


def test_eps_may_reach_across_the_whole_range() -> None:
    assert plan(AttackParameters(norm="l2", eps=8), GREY).schedule.eps == 8
    assert plan(AttackParameters(norm="l2", eps=13.8), MANIFESTS[3]).schedule.eps == 13.8
    with pytest.raises(InvalidValue, match=r"^eps: expected a number above 0 and up to 8,"):
        plan(AttackParameters(norm="l2", eps=8.1), GREY)


@given(st.integers(1, 255), st.integers(255, 1000))
def test_a_fraction_is_its_quotient(numerator: int, denominator: int) -> None:
    chosen = plan(AttackParameters(eps=f"{numerator}/{denominator}", step_size="1/255"), GREY)
    assert chosen.schedule.eps == numerator / denominator
    assert chosen.schedule.step_size == 1 / 255


@pytest.mark.parametrize(
    ("norm", "channels", "eps"), [("linf", 1, 0.3), ("l2", 1, 2.0), ("linf", 3, 8 / 255), ("l2", 3, 0.5)]
)
def test_the_default_eps_is_the_literatures(norm: str, channels: int, eps: float) -> None:
    assert plan(AttackParameters(norm=norm), MANIFESTS[channels]).schedule.eps == eps


def test_without_a_gradient_graph_the_default_asks_and_what_is_named_stays() -> None:
    blind = toy_manifest([ENTRY, toy_entry("n", FP32)], "m", (1, 8, 8), labels=("a", "b", "c", "d"))
    assert (plan(AttackParameters(), GREY).attack, plan(AttackParameters(), blind).attack) == ("pgd", "square")
    assert plan(AttackParameters("pgd"), blind).attack == "pgd"  # to be refused where its gradients are missing


def test_pgd_is_40_steps_from_a_random_start() -> None:
    chosen = plan(AttackParameters(eps=0.2), GREY)
    assert (chosen.schedule.steps, chosen.schedule.random_start) == (40, True)
    assert chosen.schedule.step_size == pytest.approx(2.5 * 0.2 / 40)
    assert plan(AttackParameters(eps=0.2, steps=1), GREY).schedule.step_size == 0.2


def test_fgsm_is_one_step_of_eps_from_the_image() -> None:
    schedule = plan(AttackParameters("fgsm", eps=0.2), GREY).schedule
    assert (schedule.steps, schedule.step_size, schedule.random_start) == (1, 0.2, False)


@settings(max_examples=50)
@given(
    st.builds(
        AttackParameters,
        attack=st.sampled_from(["pgd", "fgsm", "cw-l2", "cw"]) | st.text(max_size=3),
        norm=st.sampled_from(["linf", "l2"]) | st.text(max_size=3),
        eps=st.none() | st.floats() | st.text(max_size=8),
        steps=st.none() | st.integers(),
        step_size=st.none() | st.floats() | st.text(max_size=8),
        restarts=st.integers(-1, 22),
        label=st.none() | st.integers(-1, 4),
        target=st.none() | st.integers(-1, 4),
        seed=st.integers(),
        budget_ms=st.integers(),
    )
)
def test_every_plan_is_within_limits_or_refused_by_name(parameters: AttackParameters) -> None:
    refused = ""
    try:
        chosen = plan(parameters, GREY)
    except InvalidValue as error:
        refused = str(error).split(":")[0]
    if refused:
        assert refused in {*vars(parameters), "steps, restarts"}
        return
    assert 0 < chosen.eps <= 8 and 1 <= chosen.steps <= 1000
    assert not chosen.climbs or 0 < chosen.schedule.step_size <= 8
    assert 1 <= chosen.restarts <= 20 and 1 <= chosen.budget_ms <= 30_000 and chosen.seed >= 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_blind_members_refuse(attack: str) -> None:
    chosen = plan(AttackParameters(attack, norm="l2"), GREY).attack
    require_gradients(chosen, [])
    if attack in QUERY_ATTACKS:
        require_gradients(chosen, ["a", "b"])
        return
    with pytest.raises(
        InvalidValue, match=rf"^attack: {attack} needs .*, and a, b have none; .*: square or hopskipjump$"
    ):
        require_gradients(chosen, ["a", "b"])


@pytest.mark.parametrize(("attack", "steps"), [("cw-l2", 200), ("deepfool", 50)])
def test_attacks_that_look_for_the_smallest_change_have_steps_of_their_own_and_nothing_else(
    attack: str, steps: int
) -> None:
    chosen = plan(AttackParameters(attack, norm="l2"), GREY)
    assert (chosen.climbs, chosen.only_asks) == (False, False)
    assert (chosen.steps, chosen.step_size, chosen.eps) == (steps, None, 2.0)
    assert plan(AttackParameters(attack, norm="l2", steps=7, eps=1), GREY).steps == 7
    with pytest.raises(InvalidValue, match=r"^steps: expected 1 to 1000, got 1001$"):
        plan(AttackParameters(attack, norm="l2", steps=1001), GREY)
    refused = (AttackParameters(attack, "l2", step_size=0.1), AttackParameters(attack, "l2", restarts=2))
    for parameters in (*refused, AttackParameters(attack, "l2", target=1)):
        with pytest.raises(
            InvalidValue,
            match=rf"^(step_size|restarts|target): {attack} looks for the smallest change from the image to any other "
            "class and has none; leave it out, or choose pgd as the attack$",
        ):
            plan(parameters, GREY)


def test_cw_is_for_l2_only_and_deepfool_for_both_norms() -> None:
    assert set(SMALLEST_ATTACKS) == {"cw-l2", "deepfool"}
    assert plan(AttackParameters("deepfool"), GREY).norm == "linf"
    with pytest.raises(InvalidValue, match=r"^norm: expected l2 for cw-l2, got 'linf'$"):
        plan(AttackParameters("cw-l2"), GREY)


@pytest.mark.parametrize("attack", QUERY_ATTACKS)
def test_attacks_that_only_ask_have_queries_for_steps_and_no_step_size_restarts_or_target(attack: str) -> None:
    chosen = plan(AttackParameters(attack), GREY)
    assert (chosen.only_asks, chosen.steps, chosen.step_size, chosen.eps) == (True, 5000, None, 0.3)
    assert plan(AttackParameters(attack, steps=10_000), GREY).steps == 10_000
    with pytest.raises(InvalidValue, match=r"^steps: expected 1 to 10000, got 10001$"):
        plan(AttackParameters(attack, steps=10_001), GREY)
    refused = (AttackParameters(attack, step_size=0.1), AttackParameters(attack, restarts=2))
    for parameters in (*refused, AttackParameters(attack, target=1)):
        with pytest.raises(InvalidValue, match=rf"^(step_size|restarts|target): {attack} only asks and has none"):
            plan(parameters, GREY)
