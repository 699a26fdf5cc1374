"""What `empir quantize` is asked for, from its command line and back to one."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from export.bundle_folder import portable
from export.post_training.classifier import Preprocessing
from export.post_training.quantization import CORRECTED, PLAIN, Method
from export.post_training.quantize_parameters import CALIBRATION_IMAGES, FIGURE_IMAGES
from models.precision import Precision

Resize = Literal["center_crop", "stretch"]


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    model: Path
    calibration: Path
    members: dict[str, Precision]
    out: Path
    labels: str | None
    preprocessing: Preprocessing
    resize: Resize
    calibration_images: int
    figure_images: int
    method: Method
    skip_unreadable: bool

    def command(self) -> str:
        """The command that asks for this again."""
        before = self.preprocessing
        words = ["empir", "quantize", portable(self.model), "--calibration", portable(self.calibration)]
        words += ["--members", ",".join(self.members)]
        if self.labels is not None:
            words += ["--labels", portable(self.labels)]
        for option, value, usual in (
            ("--input-range", _text((before.low, before.high)), "0,1"),
            ("--mean", _text(before.mean), "0"),
            ("--std", _text(before.std), "1"),
            ("--resize", self.resize, "center_crop"),
            ("--calibration-images", str(self.calibration_images), str(CALIBRATION_IMAGES)),
            ("--figure-images", str(self.figure_images), str(FIGURE_IMAGES)),
        ):
            words += [] if value == usual else [f"{option}={value}"]  # a mean may begin with a minus
        words += ["--plain"] * (self.method == PLAIN) + ["--skip-unreadable"] * self.skip_unreadable
        return shlex.join([*words, "--out", portable(self.out)])


def request_of(
    *,
    input_range: tuple[float, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    plain: bool,
    **same: Any,
) -> Request:
    """The request in the command's options, those of `same` by the names of its fields. Raises click.UsageError."""
    if len(input_range) != 2 or input_range[0] >= input_range[1] or min(std) <= 0:
        raise click.UsageError("expected --input-range LOW,HIGH with LOW below HIGH, and --std above 0")
    preprocessing = Preprocessing(input_range[0], input_range[1], mean, std)
    method = PLAIN if plain else CORRECTED
    return Request(preprocessing=preprocessing, method=method, **same)


def _text(numbers: tuple[float, ...]) -> str:
    return ",".join(repr(float(number)).removesuffix(".0") for number in numbers)
