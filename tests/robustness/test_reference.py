"""The served ensemble lent to AutoAttack and Foolbox, and our attacks against theirs."""

import logging
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import pyautoattack
import pytest
import torch
from numpy.typing import NDArray
from pyautoattack.square import SquareAttack

from robustness import reference
from robustness.attacks.attack import Attack, Found
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.registry import Settings, make_attack
from robustness.attacks.square import Square
from robustness.evaluation.steps import Step
from robustness.evaluation.worker import Task, run_step
from robustness.foreign_attack import ForeignAttack
from robustness.norms import NORMS, NormName
from robustness.reference import AutoAttack, AutoAttackName, Foolbox, FoolboxName, Lent
from robustness.victim import Array, Victim
from runtime.ensemble import Ensemble
from runtime.errors import InvalidValue
from runtime.manifest import Vote
from tests.linear_victim import linear_victim
from tests.toy_bundle import ToyBundle, quadrants
from tests.toys import FP32, W2A4, LinearMember, ToyMember, numbered

EPS = 0.08
FP32_MEMBER = 2
GREY = np.full((1, 1, 8, 8), 0.5, dtype=np.float32)
CAT = np.zeros(1, dtype=np.int64)


def found_by(
    attack: ForeignAttack, victim: Victim, images: Array, labels: NDArray[np.int64], seed: int = 0
) -> dict[int, Found]:
    return attack.run(victim, images, labels, np.random.default_rng(seed))


def planted_victim() -> Victim:
    """Of a grey image two members of three say cat, each at 60%, and the full-precision one is sure of dog.

    So the vote is cat, and the largest mean probability dog's. Within 0.1 both doubtful members can be turned.
    """
    doubtful, nothing = [(0, 1, 0)] * 4, [(0, 0, 0)] * 4
    return linear_victim([doubtful, doubtful, nothing], [(0.5, 0.1, -9), (0.5, 0.1, -9), (0, 20, 0)])


def test_what_they_see_is_the_vote(toy: ToyBundle, victim: Victim) -> None:
    noisy = np.random.default_rng(0).uniform(0, 1, (200, 1, 8, 8)).astype(np.float32)
    for score in ("vote", "mean"):
        seen = Lent(victim, score)(torch.from_numpy(noisy)).argmax(dim=1)
        np.testing.assert_array_equal(seen.numpy(), victim.predict(noisy).verdict)


def test_backwards_they_get_the_gradient_of_the_members(toy: ToyBundle, victim: Victim) -> None:
    mine, theirs = (torch.from_numpy(toy.images).requires_grad_() for _ in range(2))
    labels = torch.from_numpy(toy.classes)
    torch.nn.functional.cross_entropy(Lent(victim, "mean")(mine), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
    pairs = zip(toy.networks, victim.temperatures, strict=True)
    probs = torch.stack([torch.softmax(network(theirs) / temperature, dim=1) for network, temperature in pairs])
    torch.nn.functional.nll_loss(probs.mean(dim=0).log(), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert mine.grad is not None and theirs.grad is not None
    np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), atol=1e-4 * theirs.grad.abs().max().item())


def test_the_gradient_of_a_sure_ensemble_does_not_vanish() -> None:
    sure = linear_victim([[(0, 9, 0)] * 4] * 3, [(40, 0, 0)] * 3)
    image = torch.from_numpy(GREY.copy()).requires_grad_()
    torch.nn.functional.cross_entropy(Lent(sure)(image), torch.zeros(1, dtype=torch.long)).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None and 0 < image.grad.min().item() < 1e-15


def initial_accuracy(victim: Victim) -> float:
    """AutoAttack's own, of the grey image that is a cat."""
    library = pyautoattack.AutoAttack(Lent(victim, "mean"), eps=0.1, seed=0)
    accuracy: float = library.clean_accuracy(torch.from_numpy(GREY), torch.from_numpy(CAT))
    return accuracy


def test_an_image_whose_mean_and_vote_disagree_is_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the crown the library counts it as wrong before the attack, and never tries it."""
    victim = planted_victim()
    assert victim.predict(GREY).verdict.tolist() == [0]
    assert initial_accuracy(victim) == 1
    near, far = (AutoAttack("apgd-ce", "linf", eps, score="mean") for eps in (0.05, 0.15))
    assert [len(found_by(attack, victim, GREY, CAT)) for attack in (near, far)] == [0, 1]
    monkeypatch.setattr(reference, "crowned", lambda scores, verdict: scores.astype(np.float32))
    assert initial_accuracy(victim) == 0
    assert len(found_by(far, victim, GREY, CAT)) == 0


def test_no_verdict_is_no_class_and_never_the_label() -> None:
    logits = np.array([[[5, 0, 0]], [[0, 5, 0]], [[0, 0, 5]]], dtype=np.float32)
    names = (("low-a", W2A4), ("low-b", W2A4), ("fp32", FP32))
    members = [ToyMember(name, precision, given) for (name, precision), given in zip(names, logits, strict=True)]
    members[2].failure = "error"
    victim = Victim(Ensemble(members, Vote(rule="majority", tie_breaker="fp32"), 3), [None] * 3)
    assert Lent(victim)(torch.from_numpy(numbered(1))).argmax(dim=1).tolist() == [3]


class Doubled(torch.nn.Module):
    """The toy bundle's fp32 member in torch; its temperature is 2."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.network(images) / 2, dim=1)


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "fab-t"])
def test_a_member_falls_as_often_as_its_twin_in_torch(toy: ToyBundle, victim: Victim, name: AutoAttackName) -> None:
    images, labels = toy.images[:8], toy.classes[:8]
    found = found_by(AutoAttack(name, "linf", EPS), victim.alone(FP32_MEMBER), images, labels)
    library = pyautoattack.AutoAttack(Doubled(toy.networks[FP32_MEMBER]), eps=EPS, seed=7)
    library.attacks_to_run = [name]
    library.apgd_targeted.n_target_classes = library.fab.n_target_classes = 3
    with reference._undisturbed():
        theirs = library.run_standard_evaluation(torch.from_numpy(images), torch.from_numpy(labels))[1]
    fell = np.flatnonzero(theirs.numpy() != labels)
    assert 0 < len(fell) < len(labels)
    assert sorted(found) == fell.tolist()


@dataclass(frozen=True)
class Contest:
    """One of our attacks against the libraries' own, in a norm, on the ensemble or on a member alone."""

    ours: Attack
    theirs: AutoAttack | Foolbox
    member: int | None = None
    even: bool = False
    """Ours, too, should not find more: both climb the same loss of one member, and draw random numbers alike."""


def settings(steps: int) -> Settings:
    return Settings("linf", EPS, steps)


CONTESTS = {
    "pgd-member": Contest(
        make_attack("pgd-cross_entropy", settings(40)), Foolbox("pgd", "linf", EPS, steps=40), FP32_MEMBER, even=True
    ),
    "pgd-ensemble": Contest(
        make_attack("pgd-mean_log_probability", settings(40)), Foolbox("pgd", "linf", EPS, steps=40, score="mean")
    ),
    "apgd-ce-low-precision": Contest(
        make_attack("apgd-cross_entropy", settings(100)), AutoAttack("apgd-ce", "linf", EPS), 0, even=True
    ),
    "apgd-t-member": Contest(
        make_attack("apgd-targeted_dlr", settings(100)), AutoAttack("apgd-t", "linf", EPS), FP32_MEMBER, even=True
    ),
    "apgd-ensemble": Contest(make_attack("apgd-joint_margin", settings(100)), AutoAttack("apgd-ce", "linf", EPS)),
    "square-member": Contest(Square("linf", 0.1, 300), AutoAttack("square", "linf", 0.1, queries=300), FP32_MEMBER),
    "square-ensemble": Contest(Square("linf", 0.1, 300), AutoAttack("square", "linf", 0.1, queries=300)),
    "cw-member": Contest(CarliniWagner(eps=0.5), Foolbox("cw-l2", "l2", 0.5), FP32_MEMBER, even=True),
    "cw-ensemble": Contest(CarliniWagner(eps=0.5), Foolbox("cw-l2", "l2", 0.5)),
}


@pytest.fixture
def _squares_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their squares never touch an image's last row and column, which is much of an image of 8 x 8."""
    theirs = SquareAttack.random_int
    monkeypatch.setattr(SquareAttack, "random_int", lambda self, low, high: theirs(self, low, high + 1))


@pytest.mark.usefixtures("_squares_everywhere")
@pytest.mark.parametrize("contest", CONTESTS.values(), ids=CONTESTS.keys())
def test_ours_finds_as_much_as_theirs(victim: Victim, contest: Contest) -> None:
    """Of the images that only one of them finds theirs are not more than a coin would give them (McNemar's test, 2
    sigma). On the ensemble ours, which know the vote, may find more; so may our Square, as theirs draws the same
    squares for all images of a batch.
    """
    images, labels = quadrants(40, seed=201)
    attacked = victim if contest.member is None else victim.alone(contest.member)
    ours, theirs = (
        set(attack.run(attacked, images, labels, np.random.default_rng(0))) for attack in (contest.ours, contest.theirs)
    )
    assert 5 < len(theirs) < 35
    only_ours, only_theirs = len(ours - theirs), len(theirs - ours)
    noise = 2 * np.sqrt(only_ours + only_theirs)
    assert only_theirs - only_ours <= noise
    if contest.even:
        assert only_ours - only_theirs <= noise
        assert only_ours + only_theirs <= 6


ATTACKS: list[tuple[FoolboxName, NormName, float]] = [
    ("fgsm", "linf", 0.1),
    ("bim", "linf", 0.1),
    ("pgd", "linf", 0.1),
    ("pgd", "l2", 0.7),
    ("cw-l2", "l2", 0.7),
    ("deepfool", "l2", 0.7),
    ("deepfool", "linf", 0.1),
]


@pytest.mark.parametrize(("name", "norm", "eps"), ATTACKS, ids=[f"{name}-{norm}" for name, norm, _ in ATTACKS])
def test_what_foolbox_finds_is_within_eps_and_wrong(
    toy: ToyBundle, victim: Victim, name: FoolboxName, norm: NormName, eps: float
) -> None:
    found = found_by(Foolbox(name, norm, eps, steps=20), victim, toy.images, toy.classes)
    assert len(found) > 4
    check_found(toy.images, toy.classes, victim, norm, eps, {row: each.image for row, each in found.items()})


def check_found(
    images: Array, labels: NDArray[np.int64], victim: Victim, norm: NormName, eps: float, found: dict[int, Array]
) -> None:
    rows, adversarial = list(found), np.stack(list(found.values()))
    assert adversarial.dtype == np.float32 and adversarial.min() >= 0 and adversarial.max() <= 1
    assert NORMS[norm].size(adversarial - images[rows]).max() <= eps * (1 + 1e-6)
    assert (victim.predict(adversarial).verdict != labels[rows]).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.7)])
def test_an_image_that_is_wrong_already_is_found_as_it_is(
    toy: ToyBundle, victim: Victim, norm: NormName, eps: float
) -> None:
    labels = toy.classes.copy()
    labels[5] = (labels[5] + 1) % 4
    attack = AutoAttack("apgd-t", norm, eps, batch_size=16)
    found = found_by(attack, victim, toy.images, labels)
    assert found[5].step == 0 and (found[5].image == toy.images[5]).all()
    assert len(found) > 4
    assert attack.parameters()["n_iter"] == 100 and attack.parameters()["eps"] == eps
    check_found(toy.images, labels, victim, norm, eps, {row: each.image for row, each in found.items()})


def test_a_seed_gives_the_same_images_again_and_nothing_else_notices(toy: ToyBundle, victim: Victim) -> None:
    def found(seed: int) -> list[Array]:
        result = found_by(AutoAttack("apgd-ce", "linf", 0.1), victim, toy.images, toy.classes, seed)
        return [each.image for each in result.values()]

    def trace(frame: FrameType, event: str, arg: Any) -> None:
        pass

    before, tracer = torch.random.get_rng_state(), sys.gettrace()
    sys.settrace(trace)
    try:
        first = found(0)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(tracer)
    np.testing.assert_array_equal(first, found(0))
    assert any((a != b).any() for a, b in zip(first, found(1), strict=False))
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_the_library_warns_of_is_logged_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    flat = linear_victim([[(0, 0, 0)] * 4] * 3, [(3, 2, 1)] * 3)
    task = Task(Step("autoattack-apgd-t", Settings("linf", 0.1)), GREY, CAT, (0,))
    with caplog.at_level(logging.WARNING):
        outcome = run_step(flat, task)
    (warning,) = outcome.cost.warnings
    assert "1 points with zero gradient" in warning and warning in caplog.messages
    assert len(outcome.source) == 0


def test_it_stops_between_batches_when_out_of_time(toy: ToyBundle, victim: Victim) -> None:
    asked = iter([False, False, True, True])
    attack = AutoAttack("apgd-ce", "linf", 0.3, batch_size=4)
    found = attack.run(victim, toy.images, toy.classes, np.random.default_rng(0), out_of_time=lambda: next(asked))
    assert set(found) <= set(range(8)) and len(found) > 4


def test_a_member_without_a_gradient_graph_is_only_asked() -> None:
    members = [LinearMember("fp32", FP32, np.ones((64, 4), np.float32), np.array([1, 0, 0, 0], np.float32))]
    victim = Victim(Ensemble(members, Vote(rule="majority", tie_breaker="fp32"), 4), [None])
    generator = np.random.default_rng(0)
    for attack in (AutoAttack("apgd-t", "linf", 0.1), Foolbox("pgd", "linf", 0.1)):
        with pytest.raises(InvalidValue, match="fp32 has no gradient graph"):
            attack.run(victim, GREY, CAT, generator)
    square = AutoAttack("square", "linf", 0.1, queries=3)
    assert square.threat_model == "black-box-score"
    assert square.run(victim, GREY, CAT, generator) == {}


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (AutoAttack("deepfool", "linf", 0.1), r"expected one of apgd-ce, .*square, got 'deepfool'"),  # type: ignore[arg-type]
        (Foolbox("cw-l2", "linf", 0.1), r"expected one of fgsm in linf, .*got 'cw-l2' in 'linf'"),
    ],
    ids=["autoattack", "foolbox"],
)
def test_an_attack_that_is_not_there_is_refused(victim: Victim, attack: Attack, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        attack.run(victim, GREY, CAT, np.random.default_rng(0))
