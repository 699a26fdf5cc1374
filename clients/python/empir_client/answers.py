"""The server's answers, as frozen dataclasses. Times are milliseconds; an image's pixels are in [0, 1]."""

import base64
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Precision:
    """A member's bit widths; 32 and 32 for full precision.

    >>> str(Precision(2, 4)), str(Precision(32, 32))
    ('w2a4', 'fp32')
    """

    weights: int
    activations: int

    def __str__(self) -> str:
        return "fp32" if self.weights == 32 else f"w{self.weights}a{self.activations}"


@dataclass(frozen=True)
class MemberVote:
    """One member's part in a prediction; without a vote its label, class_index and confidence are None."""

    name: str
    precision: Precision
    status: str
    """`ok`, `skipped`, `error`, `nonfinite` or `deadline`."""
    label: str | None
    class_index: int | None
    confidence: float | None
    latency_ms: float


@dataclass(frozen=True)
class LatencyMs:
    """Where the server's time went; the network is not in it."""

    decode: float
    queue: float
    inference: float
    vote: float
    total: float


@dataclass(frozen=True)
class BundleName:
    """Which ensemble answered."""

    name: str
    version: str


@dataclass(frozen=True)
class Prediction:
    """The answer of `predict`: the verdict, and how it came about."""

    label: str
    class_index: int
    confidence: float
    """Mean probability that the members asked give to the verdict."""
    agreement: float
    """Share of the members asked that voted for the verdict."""
    suspicious: bool | None
    """None where it cannot be told."""
    degraded: bool
    """Whether a member that was asked has no vote."""
    mode: str
    votes: dict[str, int]
    """Votes by label."""
    members: tuple[MemberVote, ...]
    latency_ms: LatencyMs
    bundle: BundleName
    request_id: str


@dataclass(frozen=True)
class Attack:
    """The attack that was run, with every hyperparameter."""

    name: str
    norm: str
    eps: float
    steps: int
    step_size: float | None
    """None for an attack that only asks, whose steps are its queries, or looks for the smallest change."""
    restarts: int
    random_start: bool
    label: int
    target: int | None
    seed: int
    budget_ms: int
    losses: tuple[str, ...] = ()
    halved_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class View:
    """What the ensemble says of one image; label and class_index are None without a quorum."""

    label: str | None
    class_index: int | None
    confidence: float | None
    agreement: float | None
    suspicious: bool | None = None


@dataclass(frozen=True)
class Perturbation:
    """The size of the change: pixels changed, Euclidean length, largest change."""

    l0: int
    l2: float
    linf: float


@dataclass(frozen=True)
class MemberUnderAttack:
    """One member before and after; below a margin of 0 it is wrong."""

    name: str
    precision: Precision
    label_before: str | None
    label_after: str | None
    flipped: bool
    margin_before: float | None
    margin_after: float | None
    gradient_norm: float | None
    """None where the member has no gradient graph."""


@dataclass(frozen=True)
class Pictures:
    """PNG in base64, as the server sends it; `png("adversarial")` is the file's bytes."""

    original: str = field(repr=False)
    adversarial: str = field(repr=False)
    perturbation: str = field(repr=False)
    """Magnified: grey is no change, the largest change is white or black."""

    def png(self, name: str) -> bytes:
        """The PNG file `original`, `adversarial` or `perturbation`."""
        return base64.b64decode({each: getattr(self, each) for each in self.__dataclass_fields__}[name])


@dataclass(frozen=True)
class Probe:
    """The answer of `probe`: what an attack on one image found."""

    outcome: str
    """`broken`, `not_broken_within_budget` (which is not "robust") or `wrong_before_attack`."""
    confirmed_on_served: bool
    threat_model: str
    attack: Attack
    clean: View
    adversarial: View | None
    perturbation: Perturbation | None
    smallest_eps: float | None
    queries: int
    gradient_calls: int
    time_ms: float
    members: tuple[MemberUnderAttack, ...]
    warnings: tuple[str, ...]
    images: Pictures


@dataclass(frozen=True)
class Share:
    """A part of n images, with its 95% confidence interval."""

    share: float
    count: int
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """The answer of `report`: the head of an evaluation's report. The whole of it is in `document`."""

    trustworthy: bool
    """Whether every check passed that could show the attacks to be too weak."""
    failed_checks: tuple[str, ...]
    summary: tuple[str, ...]
    suite: str
    norm: str
    eps: float
    seed: int
    clean: Share
    robust: Share
    """Verdicts that no attack of the suite turned."""
    document: dict[str, Any] = field(default_factory=dict, repr=False)
