"""The manifest of a bundle, `bundle.json`: what the ensemble is, how it was made, and the checksum of every file."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
DIGIT_BOX = 20
"""MNIST: ink scaled into 20 x 20, its centre of mass in the middle of 28 x 28."""
NAME = r"^[a-z0-9][a-z0-9._-]*$"

Name = Annotated[str, Field(pattern=NAME, max_length=64)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Bits = Annotated[int, Field(ge=1, le=32)]
Share = Annotated[float, Field(ge=0, le=1)]
ScoreName = Literal["jensen_shannon", "kullback_leibler", "disagreement", "confidence_gap", "margin_gap"]
BETWEEN_KINDS: tuple[ScoreName, ...] = ("kullback_leibler", "confidence_gap", "margin_gap")
"""Scores that compare the full-precision members with the low-precision ones."""


class Part(BaseModel):
    """Base of every part of a manifest: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Precision(Part):
    """A member's bit widths; 32 and 32 for full precision."""

    weights: Bits = Field(description="Bits of a weight.")
    activations: Bits = Field(description="Bits of what a layer passes on.")

    @property
    def is_float(self) -> bool:
        return self.weights == 32

    def __str__(self) -> str:
        return "fp32" if self.is_float else f"w{self.weights}a{self.activations}"


class Member(Part):
    """One network of the ensemble and its two graphs."""

    name: Name = Field(description="Unique in the bundle; `BUNDLE:MEMBER` is a model of the Open Inference Protocol.")
    precision: Precision
    file: FileName = Field(description="Its ONNX graph in the bundle's folder: from `image` to `logits`.")
    sha256: Sha256 = Field(description="Of that file.")
    gradient_file: FileName | None = Field(None, description="The graph that attacks climb; null: it has none.")
    gradient_sha256: Sha256 | None = Field(None, description="Of that file.")
    opset: int = Field(description="Of ONNX, in both graphs.")
    parameters: int = Field(ge=0, description="Number of weights.")
    packed_bytes: int = Field(ge=0, description="Size of the member graph's file.")
    macs: int = Field(ge=0, description="Multiply-accumulates for one image.")
    bit_operations: int | None = Field(
        None, ge=0, description="Multiply-accumulates, each times the bits of its weight and of its activation."
    )
    temperature: float = Field(
        1.0, gt=0, description="probs = softmax(logits / temperature); chosen on validation images."
    )
    clean_accuracy: Share | None = Field(None, description="On the test set, through the served graph.")

    @model_validator(mode="after")
    def _gradient_comes_with_its_sum(self) -> Self:
        if (self.gradient_file is None) != (self.gradient_sha256 is None):
            raise ValueError("gradient_file and gradient_sha256 come together")
        return self


class Input(Part):
    """The image that members take, float32 [N, channels, height, width] in [0, 1], and how a picture becomes one."""

    channels: Literal[1, 3] = Field(description="1: grey, 3: red, green, blue.")
    height: int = Field(ge=1, le=4096, description="In pixels.")
    width: int = Field(ge=1, le=4096, description="In pixels.")
    value_range: tuple[float, float] = Field(
        (0.0, 1.0), description="What black and white become inside the graphs; for information."
    )
    mean: tuple[float, ...] | None = Field(None, description="Subtracted inside the graphs; for information.")
    std: tuple[float, ...] | None = Field(None, description="Divided by inside the graphs; for information.")
    resize: Literal["stretch", "center_crop", "digit"] = Field(
        description="For pictures of another size. `digit`: as MNIST was made, ink in 20 x 20, centred by its mass."
    )
    invert: Literal["never", "bright_border"] = Field(
        "never", description="`bright_border`: dark ink on a bright ground is inverted, as MNIST is bright on dark."
    )

    @model_validator(mode="after")
    def _digit_fits(self) -> Self:
        if self.resize == "digit" and min(self.height, self.width) < DIGIT_BOX:
            raise ValueError(
                f"resize: digit needs an image of at least {DIGIT_BOX} x {DIGIT_BOX}, got {self.height} x {self.width}"
            )
        return self


class Vote(Part):
    """How the members' votes become the verdict."""

    rule: Literal["majority", "average"] = Field(
        description="`majority`: what more than half of all members say; `average`: the highest mean probability."
    )
    tie_breaker: Name | None = Field(None, description="The member whose class is the verdict without a majority.")


class ScoreChoice(Part):
    """How well each score sees an attack that knows one member alone, measured on validation images."""

    member: Name = Field(description="The full-precision member that PGD attacked.")
    eps: float = Field(gt=0, description="Of the attack, L∞.")
    steps: int = Field(ge=1, description="Of the attack.")
    attacked: int = Field(ge=0, description="Validation images whose verdict was right.")
    turned: int = Field(ge=0, description="Of these, whose verdict was wrong after the attack.")
    auroc: dict[ScoreName, Share] = Field(
        description="That a turned image has a higher score than a clean one of validation; empty where none turned."
    )


class Detection(Part):
    """The score of an image above whose threshold it is `suspicious`. Not part of what `version` stands for."""

    score: ScoreName = Field(description="How far the members are apart, measured in this way.")
    threshold: float = Field(description="An image is suspicious if its score is above it.")
    members: tuple[Name, ...] = Field(min_length=2, description="Whose answers the score compares.")
    images: int | None = Field(None, ge=1, description="Clean validation images that the threshold was chosen on.")
    false_alarms: Share | None = Field(None, description="The share of these that is above it.")
    chosen: ScoreChoice | None = Field(
        None, description="What the score was chosen by; null where nothing was measured or somebody named the score."
    )


class Provenance(Part):
    """Where the bundle comes from: enough to make it again."""

    recipe: str = Field(description="What trained it: a name of `empir train --list`, `own-images-...`, or `quantize`.")
    command: str = Field(description="What makes the bundle again.")
    git_commit: str = Field(description="Of the code that wrote the bundle; `-dirty` if it was changed.")
    seed: int = Field(description="Of weights and of the order of images.")
    data_set: str = Field(description="Its name.")
    data_md5: dict[str, str] = Field(description="Checksums of its files, or of their names and sizes.")
    skipped_images: int = Field(0, ge=0, description="Unreadable images of the data set that were left out.")
    packages: dict[str, str] = Field(description="Versions of what it was made with.")
    hardware: str = Field(description="Where it was trained.")
    training_seconds: float = Field(description="On that hardware, all members together.")
    created: str = Field(description="Date and time, ISO 8601.")


class LayerTime(Part):
    """A layer that export could have written in other exact ways: microseconds that its member takes for one image on
    one thread, as exported, and with this layer otherwise."""

    member: Name = Field(description="The member that it is a layer of.")
    layer: str = Field(description="Its name in the graph.")
    exported_us: float = Field(ge=0, description="As it is in the bundle.")
    others_us: dict[str, float] = Field(description="By what is done otherwise.")


class Int8Copy(Part):
    """A full-precision member quantized to 8 bits after training, to compare costs with: it is not in the bundle."""

    of: Name = Field(description="The member that it is a copy of.")
    file_bytes: int = Field(ge=0, description="Size of its graph's file.")
    macs: int = Field(ge=0, description="As of a member.")
    bit_operations: int = Field(ge=0, description="As of a member.")
    us: float = Field(ge=0, description="CPU time for one image, one thread, shortest of the rounds.")
    rounds: int = Field(ge=1, description="How often it was measured.")
    over_fp32: float = Field(ge=0, description="That over the full-precision member's.")


class Measured(Part):
    """What export measured on the machine that it ran on. Not part of what `version` stands for."""

    hardware: str = Field(description="That machine.")
    layers: tuple[LayerTime, ...] = Field(description="Those that could be written in several ways.")
    int8: Int8Copy | None = Field(None, description="Null where the ensemble has an int8 member of its own.")


class Manifest(Part):
    """`bundle.json`."""

    schema_version: Literal[1] = Field(description="Of this page.")
    name: Name = Field(description="The folder's, too.")
    version: str = Field(min_length=1, max_length=64, description="Another for every change of the ensemble.")
    description: str = Field("", description="What it is, for people.")
    labels: tuple[str, ...] = Field(min_length=2, description="Of the classes, in the order of the logits.")
    input: Input
    members: tuple[Member, ...] = Field(min_length=1, description="In the order of every answer.")
    vote: Vote
    detection: Detection | None = None
    clean_accuracy: Share | None = Field(
        None, description="Of the ensemble's verdict on the test set, through the served graphs."
    )
    report: FileName | None = Field(None, description="`report.json` once `empir evaluate --attach` has run.")
    provenance: Provenance
    measured: Measured | None = None

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"members: expected names that differ, got {names}")
        if self.vote.tie_breaker not in (names if self.vote.rule == "majority" else [None, *names]):
            raise ValueError(f"vote.tie_breaker: expected one of {names}, got {self.vote.tie_breaker!r}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: expected labels that differ")
        return self

    @model_validator(mode="after")
    def _detection_fits_the_members(self) -> Self:
        if self.detection is None:
            return self
        kinds = {member.name: member.precision.is_float for member in self.members}
        names = self.detection.members
        if len(set(names)) != len(names) or not set(names) <= kinds.keys():
            raise ValueError(f"detection.members: expected names of {list(kinds)} that differ, got {list(names)}")
        if self.detection.score in BETWEEN_KINDS and len({kinds[name] for name in names}) != 2:
            raise ValueError(
                f"detection.members: {self.detection.score} compares full with low precision; "
                f"expected members of both, got {list(names)}"
            )
        return self
