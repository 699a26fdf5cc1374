"""Reference libraries, AutoAttack and Foolbox, let loose on the served ensemble through its gradient graphs.

They drop an image as soon as the largest of the scores that they see is not the label's. So that is always the served
verdict's (robustness/losses/vote_score.py), and what they find is judged by the served vote again.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyautoattack
import torch
from torch import Tensor, nn

from robustness.attacks.attack import Labels, ThreatModel
from robustness.attacks.gradient import DEFAULT_STEPS, usual_step
from robustness.foreign_attack import Batch, ForeignAttack
from robustness.losses.vote_score import NEGLIGIBLE, ScoreName, VoteScore, crowned, vote_score
from robustness.norms import NormName
from robustness.victim import Array, Victim
from runtime.errors import InvalidValue
from runtime.vote import NO_VOTE

AutoAttackName = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"]
VERSION = "standard"
"""Of AutoAttack. `rand` would be in vain: nothing that is served is random."""
FoolboxName = Literal["fgsm", "bim", "pgd", "cw-l2", "deepfool"]

LIBRARY_NORMS: dict[NormName, str] = {"linf": "Linf", "l2": "L2"}
MOST_TARGETS = 9
STANDARD_QUERIES = 5000
THEIR_PARAMETERS = ("n_iter", "n_restarts", "n_target_classes", "p_init", "alpha_max", "eta", "beta")
BATCH = 100


class Lent(nn.Module):
    """The victim as a network: images [N, C, H, W] in, scores of its vote [N, K'] out, as `crowned` describes them.

    Backwards it is the sum of the members' gradient graphs. It has no parameters, and no mode of training.
    """

    def __init__(self, victim: Victim, score: ScoreName = "vote") -> None:
        super().__init__()
        self._victim, self._score = victim, vote_score(score, victim)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = _Served.apply(images, self._victim, self._score)  # type: ignore[no-untyped-call]
        return scores


class _Served(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, victim: Victim, score: VoteScore) -> Tensor:
        # A copy: the libraries write into their own.
        pixels: Array = np.array(images.detach().numpy(), dtype=np.float32, order="C")
        prediction = victim.predict(pixels)
        ctx.asked = pixels, prediction, victim, score
        return torch.from_numpy(crowned(score.values(prediction.logits), prediction.verdict))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        pixels, prediction, victim, score = ctx.asked
        pulls = gradients[0].numpy().astype(np.float64)[:, : prediction.logits.shape[2]]
        size = _largest(pulls)
        cotangents = score.cotangents(prediction.logits, pulls / size)
        cotangents[prediction.votes == NO_VOTE] = 0  # a member that failed has no gradient either
        cotangents[np.abs(cotangents).max(axis=2) < NEGLIGIBLE * np.abs(cotangents).max(axis=(0, 2))] = 0
        # The gradient of a saturated ensemble is tiny: at its own size it would vanish inside the graphs.
        unit = _largest(cotangents.transpose(1, 0, 2).reshape(len(pulls), -1))
        gradient = victim.gradient(pixels, (cotangents / unit[None]).astype(np.float32))
        return torch.from_numpy((gradient * (size * unit)[:, :, None, None]).astype(np.float32)), None, None


def _largest(rows: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The largest entry in size of each row, [B, 1]; 1 where all are 0."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return np.where(largest > 0, largest, 1)


@dataclass(frozen=True)
class AutoAttack(ForeignAttack):
    """One attack of AutoAttack (Croce & Hein, arXiv 2003.01690), as the package pyautoattack has it."""

    logger: ClassVar[str] = "auto-attack"

    attack: AutoAttackName
    norm: NormName
    eps: float
    score: ScoreName = "vote"
    batch_size: int = BATCH
    queries: int = STANDARD_QUERIES
    """Of `square`, for each image. With other than the standard's its schedule is stretched to them."""

    @property
    def name(self) -> str:
        return f"autoattack-{self.attack}"

    @property
    def threat_model(self) -> ThreatModel:
        return "black-box-score" if self.attack == "square" else "white-box"

    def parameters(self) -> dict[str, Any]:
        library = self._library(None, MOST_TARGETS + 1, 0)
        part = {"apgd-t": library.apgd_targeted, "fab": library.fab, "fab-t": library.fab, "square": library.square}
        theirs = vars(part.get(self.attack, library.apgd))
        return {
            **asdict(self),
            "version": VERSION,
            **{name: theirs[name] for name in THEIR_PARAMETERS if name in theirs},
            "library": f"pyautoattack {installed('pyautoattack')}",
        }

    def ready(self, victim: Victim, seed: int) -> Batch:
        """Raises InvalidValue if there is no such attack, or a member has no gradient graph and the attack needs it."""
        if self.attack not in get_args(AutoAttackName):
            raise InvalidValue(f"attack: expected one of {', '.join(get_args(AutoAttackName))}, got {self.attack!r}")
        if self.threat_model == "white-box":
            victim.require_gradients()
        library = self._library(Lent(victim, self.score), victim.ensemble.n_classes, seed)

        def batch(x: Array, y: Labels) -> Array:
            with _undisturbed():
                tensors = torch.from_numpy(x), torch.from_numpy(y)
                return np.asarray(library.run_standard_evaluation(*tensors, batch_size=len(x))[0].detach().numpy())

        return batch

    def _library(self, network: Lent | None, n_classes: int, seed: int) -> Any:
        library = pyautoattack.AutoAttack(
            network,
            norm=LIBRARY_NORMS[self.norm],
            eps=self.eps,
            seed=seed,
            version=VERSION,
            device="cpu",
        )
        library.attacks_to_run = [self.attack]
        library.square.n_queries = self.queries
        library.square.rescale_schedule = self.queries != STANDARD_QUERIES
        targets = min(MOST_TARGETS, n_classes - 1)  # it would aim at the class that is no class
        library.apgd_targeted.n_target_classes = library.fab.n_target_classes = targets
        return library


@dataclass(frozen=True)
class Foolbox(ForeignAttack):
    """An attack of Foolbox 3 (Rauber et al., JOSS 2020). `cw-l2` is of the norm l2, `fgsm`, `bim` and `pgd` of linf.

    steps, step_size: None for our own defaults. Foolbox's own step of PGD is too small to cross the ball in few steps.
    """

    attack: FoolboxName
    norm: NormName
    eps: float
    steps: int | None = None
    step_size: float | None = None
    score: ScoreName = "vote"
    batch_size: int = BATCH

    threat_model: ClassVar[ThreatModel] = "white-box"
    logger: ClassVar[str] = "foolbox"

    @property
    def name(self) -> str:
        return f"foolbox-{self.attack}"

    def parameters(self) -> dict[str, Any]:
        return {**asdict(self), "library": f"foolbox {installed('foolbox')}"}

    def ready(self, victim: Victim, seed: int) -> Batch:
        """Raises InvalidValue if there is no such attack in this norm, or a member has no gradient graph."""
        victim.require_gradients()
        foolbox = _foolbox()
        attack = self._library(foolbox, victim.ensemble.n_classes)
        model = foolbox.PyTorchModel(Lent(victim, self.score), bounds=(0, 1), device="cpu")

        def batch(x: Array, y: Labels) -> Array:
            with _undisturbed():
                torch.manual_seed(seed)
                tensors = torch.from_numpy(x), torch.from_numpy(y)
                return np.asarray(attack(model, *tensors, epsilons=self.eps)[1].detach().numpy())

        return batch

    def _library(self, foolbox: Any, n_classes: int) -> Any:
        attacks, steps = foolbox.attacks, self.steps or DEFAULT_STEPS
        stride = {"abs_stepsize": self.step_size or usual_step(self.eps, steps), "steps": steps}
        candidates = min(10, n_classes)  # not the class that is no class
        makers: dict[tuple[str, str], Callable[[], Any]] = {
            ("fgsm", "linf"): attacks.LinfFastGradientAttack,
            ("bim", "linf"): lambda: attacks.LinfBasicIterativeAttack(**stride),
            ("pgd", "linf"): lambda: attacks.LinfProjectedGradientDescentAttack(**stride),
            ("pgd", "l2"): lambda: attacks.L2ProjectedGradientDescentAttack(**stride),
            ("cw-l2", "l2"): lambda: attacks.L2CarliniWagnerAttack(
                steps=self.steps or 100, stepsize=self.step_size or 0.05, initial_const=1.0
            ),
            ("deepfool", "l2"): lambda: attacks.L2DeepFoolAttack(steps=self.steps or 50, candidates=candidates),
            ("deepfool", "linf"): lambda: attacks.LinfDeepFoolAttack(steps=self.steps or 50, candidates=candidates),
        }
        if (self.attack, self.norm) not in makers:
            known = ", ".join(f"{name} in {norm}" for name, norm in makers)
            raise InvalidValue(f"attack: expected one of {known}, got {self.attack!r} in {self.norm!r}")
        return makers[self.attack, self.norm]()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The libraries seed torch's own generator, and AutoAttack ends the debugger's or the coverage tool's trace."""
    trace = sys.gettrace()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        sys.settrace(trace)


def _foolbox() -> Any:
    """Foolbox imports a module of SciPy by a name that is deprecated, which is nobody's concern here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import foolbox
    return foolbox
