"""Parameter types of `empir quantize`: numbers, and members by their precisions."""

import click

from models.precision import Precision

CALIBRATION_IMAGES = 32
FIGURE_IMAGES = 1000
PRECISIONS = {name: Precision.parse(name) for name in ("fp32", *(f"w{bits}a8" for bits in range(2, 9)))}
"""What can be had without training: activations of fewer than 8 bits cannot."""
PRECISIONS["int8"] = PRECISIONS["w8a8"]
EXPECTED = "fp32, int8 (which is w8a8), or w2a8 to w8a8: activations have 8 bits where nothing is trained"


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers between commas."""

    name = "numbers"

    def convert(
        self, value: str | tuple[float, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"expected numbers between commas, got {value!r}", param, ctx)


class Members(click.ParamType[dict[str, Precision]]):
    """Precisions between commas, `int8` for w8a8: the members' names and precisions."""

    name = "precisions"

    def convert(
        self, value: str | dict[str, Precision], param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Precision]:
        if isinstance(value, dict):
            return value
        names = value.split(",")
        found = {name: PRECISIONS[name] for name in names if name in PRECISIONS}
        for name in names:
            if name not in found:
                self.fail(f"expected {EXPECTED}, got {name or 'nothing'}", param, ctx)
        if len(found) < len(names):
            self.fail(f"expected members that differ, got {value}", param, ctx)
        return found
