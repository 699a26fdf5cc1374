"""A recipe: everything that defines a trained ensemble."""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Literal

from torch import nn

from export.data.examples import DataSet
from export.training.augmentation import Augmentation
from export.training.objectives import CrossEntropy, Objective
from models.precision import Precision
from models.quantization import EdgeBits
from runtime.manifest import Input, Vote


@dataclass(frozen=True)
class MemberRecipe:
    """One member: its name in the bundle, its precision, and the seed of its weights and of the order of its images."""

    name: str
    precision: str
    seed: int


PLAIN = CrossEntropy()


@dataclass(frozen=True)
class Training:
    """How one network is trained. Momentum of `sgd` is 0.9; the decay to 0 is over all epochs.

    `averaging` is the decay, per step, of the moving average of the weights that is kept instead of them; 0: none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    objective: Objective = PLAIN
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: Literal["cosine", "one_cycle"] = "cosine"
    weight_decay: float = 0.0
    averaging: float = 0.0
    augmentation: Augmentation = "none"
    robust_eps: float | None = None
    """The epoch kept is the one with the best accuracy on clean validation images: where this is not None, of those
    epochs that withstand PGD in this Linf ball as well as the best one, by its standard error."""
    robust_steps: int = field(default=20, repr=False)
    robust_images: int = field(default=500, repr=False)
    """Of this PGD, and how many images it attacks. Not shown, so that older checkpoints know their training again."""


@dataclass(frozen=True)
class Recipe:
    """How to make an ensemble, from a data set to a bundle."""

    name: str
    description: str
    data: Callable[[Path | None], DataSet]
    network: Callable[..., nn.Sequential]
    """Of a precision, and of `edges` where the recipe has some."""
    input: Input
    vote: Vote
    members: tuple[MemberRecipe, ...]
    training: Training
    cost: str
    """Time, by measurement unless it says otherwise."""
    expected: str
    """Accuracy: what was measured here, what others report, or that nobody measured it."""
    fine_tuning: Training | None = None
    """Of low-precision members, which then start from a full-precision twin of their seed; without it they are trained
    from the start."""
    teacher: Training | None = None
    """Of a network of the member's seed whose probabilities the member learns."""
    skipping: Callable[[Path | None], DataSet] | None = None
    """`data` with unreadable images left out and counted; None where it comes from files with known checksums."""

    edges: EdgeBits | None = None
    """Weight bits of the first and last layer of low-precision members; None: the network's own."""

    def __post_init__(self) -> None:
        """Raises ValueError if there are edges, and the network takes none."""
        if self.edges is not None and "edges" not in signature(self.network).parameters:
            raise ValueError(
                f"{self.name}: expected a network that takes the bits of its edges, got {self.network.__name__}, whose "
                "first and last layer are what they are"
            )

    def build(self, precision: Precision) -> nn.Sequential:
        """A member's network, untrained."""
        return self.network(precision) if self.edges is None else self.network(precision, edges=self.edges)

    def load(self, data_dir: Path | None, *, skip_unreadable: bool) -> DataSet:
        """The data set. Raises DataError."""
        return (self.skipping if skip_unreadable and self.skipping is not None else self.data)(data_dir)
