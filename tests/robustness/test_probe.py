"""The probe: what its report says, on a real toy bundle and on linear victims whose answers are known."""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from robustness.parameters import ATTACKS, GRADIENT_ATTACKS, QUERY_ATTACKS, SMALLEST_ATTACKS, AttackParameters
from robustness.probe import probe
from robustness.probe_report import ProbeReport
from robustness.victim import Victim
from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.errors import InvalidValue, NoQuorum
from runtime.gradients import GradientGraph
from runtime.images import decode_image
from runtime.manifest import Vote
from tests.linear_victim import LINEAR_MANIFEST, MAJORITY, NAMES, linear_victim, planted_victim, saturated_victim
from tests.toy_bundle import LABELS, ToyBundle
from tests.toys import W2A4, Array, ToyMember

GREY = np.full((1, 1, 8, 8), 0.5, np.float32)
DARKER = np.full((1, 1, 8, 8), 100 / 255, np.float32)
ROUNDED = "rounded to 8 bits, as in the PNG, the adversarial image no longer does it"
ONE_BLIND = (
    "w2a4-b has no gradient graph: only queries can attack here (square or hopskipjump); "
    "whoever has the weights has gradients too"
)


def attacked(toy: ToyBundle, victim: Victim, index: int = 0, **parameters: str | float | None) -> ProbeReport:
    """The report on one of the toy's images, with its true label unless another is given."""
    chosen = replace(AttackParameters(label=int(toy.classes[index])), **parameters)  # type: ignore[arg-type]
    return probe(victim, toy.manifest, toy.images[index : index + 1], chosen)


def decoded(toy: ToyBundle, png: str) -> Array:
    return decode_image(base64.b64decode(png), toy.manifest.input)


BALLS = {"linf": 0.3, "l2": 2.5}
AT_THE_BORDER = ("cw-l2", "deepfool", "hopskipjump")
"""They stop there, where rounding may lead back."""


@pytest.mark.parametrize(
    ("attack", "norm"), [(a, n) for a in ATTACKS for n in BALLS if (a, n) != ("cw-l2", "linf")], ids=str
)
def test_broken(toy: ToyBundle, victim: Victim, attack: str, norm: str) -> None:
    eps = BALLS[norm]
    report = attacked(toy, victim, attack=attack, norm=norm, eps=eps)
    assert (report.outcome, report.confirmed_on_served) == ("broken", True)
    assert report.warnings in ([[], [ROUNDED]] if attack in AT_THE_BORDER else [[]])
    assert report.clean.label == LABELS[0] and report.clean.class_index == 0 and report.clean.agreement == 1
    assert report.adversarial is not None and report.adversarial.class_index != 0
    assert report.perturbation is not None and report.smallest_eps is not None
    size = report.perturbation.l2 if norm == "l2" else report.perturbation.linf
    assert 0 < report.smallest_eps <= size + 1e-6 <= eps + 1e-5
    assert 0 < report.perturbation.l0 <= 64 and report.perturbation.linf <= report.perturbation.l2
    for member in report.members:
        assert member.label_before == LABELS[0] and member.margin_before is not None and member.margin_before > 0
        assert member.flipped == (member.label_after != member.label_before)
        assert member.margin_after is not None and member.flipped == (member.margin_after < 0)


def test_the_pictures_are_the_image_the_attack_and_their_difference(toy: ToyBundle, victim: Victim) -> None:
    report = attacked(toy, victim, eps=0.3)
    original, adversarial, shown = (
        decoded(toy, png) for png in (report.images.original, report.images.adversarial, report.images.perturbation)
    )
    np.testing.assert_array_equal(original, toy.images[:1])
    served = Ensemble.of_bundle(load_bundle(toy.folder))
    assert report.adversarial is not None and report.perturbation is not None
    assert served.predict(adversarial).verdict.tolist() == [report.adversarial.class_index]
    served.close()
    np.testing.assert_allclose(np.abs(adversarial - original).max(), report.perturbation.linf, atol=1 / 255)
    magnified = 0.5 + 0.5 * (adversarial - original) / report.perturbation.linf
    np.testing.assert_allclose(shown, magnified, atol=0.01)


def test_not_broken_within_budget(toy: ToyBundle, victim: Victim) -> None:
    report = attacked(toy, victim, eps=1e-4, steps=5, restarts=2)
    assert (report.outcome, report.confirmed_on_served) == ("not_broken_within_budget", False)
    assert report.adversarial is None and report.perturbation is None and report.smallest_eps is None
    assert report.attack.losses == ["mean_probability", "joint_targeted"]
    # The image, then 6 iterates of 2 starts: the mean probability, 3 other classes together, and any other together.
    assert report.queries == 1 + 6 * 2 * (1 + 3 + 1)
    # At most all 3 members at each of 5 steps, and at the end each member's own; the mean probability asks all.
    assert 5 * 2 * 3 + 3 < report.gradient_calls <= 5 * 2 * 3 * (1 + 3 + 1) + 3
    assert not any(member.flipped for member in report.members)
    assert {member.margin_after for member in report.members} == {None}
    assert (np.abs(decoded(toy, report.images.perturbation) - 0.5) <= 0.5 / 255 + 1e-6).all()


def test_every_hyperparameter_is_reported(toy: ToyBundle, victim: Victim) -> None:
    parameters = AttackParameters("pgd", "linf", "8/255", 7, "2/255", 3, 0, None, 11, 20_000)
    attack = probe(victim, toy.manifest, toy.images[:1], parameters).attack
    assert attack.model_dump(exclude={"losses"}) == {
        "name": "pgd",
        "norm": "linf",
        "eps": 8 / 255,
        "steps": 7,
        "step_size": 2 / 255,
        "restarts": 3,
        "random_start": True,
        "label": 0,
        "target": None,
        "seed": 11,
        "budget_ms": 20_000,
        "halved_at": [],
    }


def test_a_long_attack_halves_its_trajectories_twice(toy: ToyBundle, victim: Victim) -> None:
    """The mean probability has one trajectory, the second stage 4, then 2, then 1."""
    report = attacked(toy, victim, eps=1e-4, steps=40)
    assert report.attack.halved_at == [8, 16]
    assert report.queries == 1 + 41 + (9 * 4 + 8 * 2 + 24 * 1)


def test_a_target_is_reached_or_the_attack_has_failed(toy: ToyBundle, victim: Victim) -> None:
    for target in (1, 2, 3):
        report = attacked(toy, victim, eps=0.5, target=target)
        assert report.outcome == "broken" and report.confirmed_on_served and report.attack.target == target
        assert report.adversarial is not None and report.adversarial.class_index == target
    assert attacked(toy, victim, eps=1e-4, steps=3, target=2).outcome == "not_broken_within_budget"


def test_without_a_label_the_clean_verdict_is_attacked(toy: ToyBundle, victim: Victim) -> None:
    report = attacked(toy, victim, 3, label=None, eps=0.3)
    assert (report.attack.label, report.outcome) == (3, "broken")


def test_an_image_that_is_wrong_already_is_not_attacked(toy: ToyBundle, victim: Victim) -> None:
    report = attacked(toy, victim, label=1, eps=0.3)
    assert (report.outcome, report.confirmed_on_served) == ("wrong_before_attack", False)
    assert report.adversarial is None and report.attack.losses == [] and report.queries == 1


def test_a_target_that_is_the_label_is_not_attacked(toy: ToyBundle, victim: Victim) -> None:
    with pytest.raises(InvalidValue, match="target: expected another class than the label, which is 0"):
        attacked(toy, victim, target=0)


def test_seeds_make_reports_repeatable(toy: ToyBundle, victim: Victim) -> None:
    first, second, other = (
        attacked(toy, victim, eps=0.1, seed=seed).model_dump(exclude={"time_ms": True, "attack": {"seed"}})
        for seed in (3, 3, 4)
    )
    assert first == second != other


def test_the_budget_stops_an_attack(toy: ToyBundle, victim: Victim) -> None:
    report = attacked(toy, victim, eps=1e-4, steps=1000, restarts=20, budget_ms=1)
    assert report.outcome == "not_broken_within_budget"
    assert report.warnings == ["stopped by budget_ms=1 before every step was made"]
    assert report.attack.losses == ["mean_probability"] and report.queries < 1000 * 20


def test_a_refused_parameter_costs_nothing(toy: ToyBundle, victim: Victim) -> None:
    with pytest.raises(InvalidValue, match=r"^eps: "):
        attacked(toy, victim, eps="8/0")
    assert victim.spent.queries == 0


@pytest.fixture
def linear() -> Iterator[Victim]:
    """cat by 2, unless the whole image is 0.05 brighter than grey for the low-precision members: then dog."""
    victim = linear_victim([[(0, 10, 0)] * 4, [(0, 10, 0)] * 4, [(0, 0, 0)] * 4], [(2, 0, 0), (2, 0, 0), (2, 0, 0)])
    yield victim
    victim.close()


@pytest.mark.parametrize("image", [GREY, DARKER], ids=["grey", "darker"])
def test_the_smallest_eps_is_where_the_vote_falls(linear: Victim, image: Array) -> None:
    """dog gains 40 times the change of brightness, and cat begins with 2: 0.05 above grey the two are equal."""
    true = 0.05 + float((GREY - image).max())
    report = probe(linear, LINEAR_MANIFEST, image, AttackParameters("fgsm", eps=0.4))
    assert report.outcome == "broken" and report.smallest_eps is not None
    assert true - 1e-6 <= report.smallest_eps <= true + 0.4 / 32**2 + 1e-6
    assert report.attack.losses == ["mean_probability"]


def test_a_member_whose_gradient_is_zero_is_named(linear: Victim) -> None:
    report = probe(linear, LINEAR_MANIFEST, GREY, AttackParameters("fgsm", eps=0.1))
    assert report.warnings == ["member fp32: its gradient at the clean image is 0: a gradient attack is blind to it"]
    # d(cat - dog) of a low-precision member is 40 / 64 for every pixel.
    norms = [member.gradient_norm for member in report.members]
    np.testing.assert_allclose(np.array(norms, float), [40 / 64 * 8, 40 / 64 * 8, 0], atol=1e-6)
    margins = [(m.name, m.margin_before, m.margin_after, m.flipped) for m in report.members]
    assert margins == [(NAMES[0], 2, -2, True), (NAMES[1], 2, -2, True), (NAMES[2], 2, 2, False)]


def test_a_change_that_a_png_rounds_away_is_told(linear: Victim) -> None:
    just_below = np.full((1, 1, 8, 8), 140 / 255, np.float32)  # 0.049 brighter than grey; 0.05 is 140.25 / 255
    report = probe(linear, LINEAR_MANIFEST, just_below, AttackParameters("fgsm", eps=0.0015))
    assert report.outcome == "broken"
    assert ROUNDED in report.warnings


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("build", "ends"),
    [
        (planted_victim, (["dog", "dog", "cat"], ["eel", "eel", "cat"])),
        (saturated_victim, (["dog", "dog", "cat"],)),
    ],
)
def test_joint_goals_break_what_the_mean_probability_does_not(
    build: Callable[[], Victim], ends: Sequence[list[str]], seed: int
) -> None:
    victim = build()
    parameters = AttackParameters(eps=0.1, steps=60, step_size=0.01, seed=seed)
    report = probe(victim, LINEAR_MANIFEST, GREY, parameters)
    assert (report.outcome, report.attack.losses) == ("broken", ["mean_probability", "joint_targeted"])
    assert [member.label_after for member in report.members] in ends
    victim.close()


def test_the_smallest_eps_of_a_targeted_attack_is_where_the_target_wins() -> None:
    """The brighter, the more eel, and later dog: cat 2, eel 1 + 40 b, dog 80 b - 1 for a brightness of b above grey."""
    victim = linear_victim([[(0, 20, 10)] * 4] * 3, [(2, -1, 1)] * 3)
    smallest = [
        probe(victim, LINEAR_MANIFEST, GREY, AttackParameters("fgsm", eps=0.1, target=target)).smallest_eps
        for target in (None, 1)
    ]
    np.testing.assert_allclose(np.array(smallest, dtype=float), [0.025, 0.05], atol=0.1 / 32**2 + 1e-6)
    victim.close()


@pytest.mark.parametrize("tie_breaker", [None, "fp32"])
def test_an_average_has_no_coalitions(tie_breaker: str | None) -> None:
    vote = Vote(rule="average", tie_breaker=tie_breaker)
    victim = linear_victim([[(0, 10, 0)] * 4] * 3, [(2, 0, 0)] * 3, vote)
    report = probe(victim, LINEAR_MANIFEST, GREY, AttackParameters(eps=0.01, steps=3))
    assert report.outcome == "not_broken_within_budget"
    assert report.attack.losses == ["mean_probability", "targeted_mean_probability"]
    assert probe(victim, LINEAR_MANIFEST, GREY, AttackParameters(eps=0.1)).outcome == "broken"
    victim.close()


def test_without_a_verdict_there_is_nothing_to_attack() -> None:
    votes = np.eye(3, dtype=np.float32)[:, None]
    members = [ToyMember(name, W2A4, vote) for name, vote in zip(NAMES, votes, strict=True)]
    members[2].failure = "error"
    victim = Victim(Ensemble(members, MAJORITY, 3), [None] * 3)
    with pytest.raises(NoQuorum, match=r"no verdict to attack.*told to fail"):
        probe(victim, LINEAR_MANIFEST, GREY, AttackParameters())
    victim.close()


@pytest.fixture
def one_blind(toy: ToyBundle) -> Iterator[Victim]:
    """The toy, whose second member has no gradient graph."""
    bundle = load_bundle(toy.folder, gradients=True)
    whole = Victim.of_bundle(bundle)
    victim = Victim(
        whole.ensemble,
        [None if index == 1 else GradientGraph(bundle, member) for index, member in enumerate(bundle.manifest.members)],
    )
    yield victim
    whole.close()
    victim.close()


@pytest.mark.parametrize(
    ("attack", "knows"),
    [
        ("square", "black-box: the attacker asks for every member's logits and knows the vote; no gradients"),
        ("hopskipjump", "black-box: the attacker asks for the verdict and knows nothing else"),
    ],
)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.3), ("l2", 2.5)])
def test_queries_break_members_without_gradients_and_every_report_says_so(
    toy: ToyBundle, one_blind: Victim, attack: str, knows: str, norm: str, eps: float
) -> None:
    report = attacked(toy, one_blind, attack=attack, norm=norm, eps=eps)
    assert (report.outcome, report.confirmed_on_served, report.threat_model) == ("broken", True, knows)
    assert report.warnings[-1] == ONE_BLIND
    assert (report.attack.steps, report.attack.step_size, report.attack.losses) == (5000, None, [])
    assert [member.gradient_norm is None for member in report.members] == [False, True, False]
    assert report.gradient_calls == 0 and 1 < report.queries <= 5003
    assert report.perturbation is not None
    assert 0 < (report.perturbation.l2 if norm == "l2" else report.perturbation.linf) <= eps + 1e-5
    assert attacked(toy, one_blind, label=1, attack=attack).warnings == [ONE_BLIND]


@pytest.mark.parametrize(("attack", "gradients"), [("cw-l2", 6 * 3), ("deepfool", 9 * 3)])
def test_a_search_for_the_smallest_change_is_white_box_and_says_what_it_did(
    toy: ToyBundle, victim: Victim, attack: str, gradients: int
) -> None:
    report = attacked(toy, victim, attack=attack, norm="l2", eps=1e-4, steps=1)
    assert (report.outcome, report.warnings) == ("not_broken_within_budget", [])
    assert report.threat_model.startswith("white-box, adaptive") and 0 < report.gradient_calls <= gradients + 3
    chosen = report.attack
    assert (chosen.name, chosen.steps, chosen.step_size, chosen.random_start) == (attack, 1, None, False)
    assert (chosen.losses, chosen.halved_at) == ([], [])
    late = attacked(toy, victim, attack=attack, norm="l2", eps=1e-4, steps=1000, budget_ms=1)
    assert late.warnings == ["stopped by budget_ms=1 before every step was made"] and late.queries < 1000


@pytest.mark.parametrize("attack", QUERY_ATTACKS)
def test_queries_that_find_nothing_say_that_gradients_might(toy: ToyBundle, victim: Victim, attack: str) -> None:
    report = attacked(toy, victim, attack=attack, eps=1e-4, steps=60)
    assert report.outcome == "not_broken_within_budget" and report.adversarial is None
    assert report.warnings == ["attacked by queries alone: an attacker with gradients often finds what queries miss"]
    assert report.attack.steps == 60 and report.queries <= 63  # and clean images


@pytest.mark.parametrize("attack", QUERY_ATTACKS)
def test_queries_end_with_the_budget(toy: ToyBundle, victim: Victim, attack: str) -> None:
    report = attacked(toy, victim, attack=attack, eps=1e-4, budget_ms=1)
    assert report.warnings[0] == "stopped by budget_ms=1 before every step was made"
    assert report.queries < 1000


@pytest.mark.parametrize("attack", [*GRADIENT_ATTACKS, *SMALLEST_ATTACKS])
def test_an_attack_with_gradients_is_refused_with_what_works(toy: ToyBundle, one_blind: Victim, attack: str) -> None:
    message = (
        f"^attack: {attack} needs a gradient graph of every member, and w2a4-b has none; expected one that only asks: "
        "square or hopskipjump$"
    )
    with pytest.raises(InvalidValue, match=message):
        attacked(toy, one_blind, attack=attack, norm="l2")
    assert one_blind.spent.gradient_calls == 0
