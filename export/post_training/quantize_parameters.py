"""Parameter types of `empir quantize`: numbers, and members by their precisions."""

import click

from models.precision import Precision

CALIBRATION_IMAGES = 32
FIGURE_IMAGES = 1000
ALIASES = {"int8": "w8a8"}


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
        try:
            found = {name: Precision.parse(ALIASES.get(name, name)) for name in names}
        except ValueError as error:
            self.fail(f"{str(error).removeprefix('precision: ')}; int8 is w8a8", param, ctx)
        if len(found) < len(names):
            self.fail(f"expected members that differ, got {value}", param, ctx)
        for name, precision in found.items():
            if not precision.is_float and (precision.activations != 8 or precision.weights < 2):
                self.fail(f"expected fp32, int8, or w2a8 to w8a8 after training, got {name}", param, ctx)
        return found
