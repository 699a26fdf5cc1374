"""The answer of `bundles`: what is served, as frozen dataclasses."""

from dataclasses import dataclass

from empir_client.answers import Precision


@dataclass(frozen=True)
class Input:
    """The image that a bundle's members take. Pictures of other sizes are brought to it by `resize` and `invert`."""

    channels: int
    height: int
    width: int
    resize: str
    invert: str = "never"


@dataclass(frozen=True)
class BundleMember:
    """One network of a bundle."""

    name: str
    precision: Precision
    parameters: int
    packed_bytes: int
    macs: int
    gradient_file: str | None = None
    """None where the member has no gradient graph; a bundle with it can be attacked by queries alone."""
    clean_accuracy: float | None = None
    engine: str = "onnxruntime"
    """What runs it: `onnxruntime`, `openvino` or `cuda`."""
    reason: str | None = None
    """Why this engine, where there was a choice."""


@dataclass(frozen=True)
class Vote:
    """How the members' votes become the verdict."""

    rule: str
    tie_breaker: str | None = None


@dataclass(frozen=True)
class Concurrency:
    """How the members of one request run while cores are idle: side by side, or in turn."""

    setting: str
    """`auto`, `members` (side by side) or `requests` (in turn)."""
    chosen: str | None
    """What the setting comes to, `members` or `requests`; None where nothing was timed."""
    in_turn_ms: float | None
    """What one image took at the server's start; None where it was not timed."""
    side_by_side_ms: float | None
    cores: int


@dataclass(frozen=True)
class Bundle:
    """A bundle that is served."""

    name: str
    version: str
    labels: tuple[str, ...]
    input: Input
    members: tuple[BundleMember, ...]
    vote: Vote
    report: str | None
    """Where the page of its report is on the server; None without a report."""
    description: str = ""
    clean_accuracy: float | None = None
    concurrency: Concurrency | None = None
    """None of a server that does not say."""


@dataclass(frozen=True)
class Bundles:
    """The answer of `bundles`."""

    default: str
    bundles: tuple[Bundle, ...]

    def __getitem__(self, name: str) -> Bundle:
        """The bundle of this name. Raises KeyError."""
        return {bundle.name: bundle for bundle in self.bundles}[name]
