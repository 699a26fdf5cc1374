"""Precision: the bit widths of a member's weights and activations."""

import re
from dataclasses import dataclass
from typing import Self

FLOAT_BITS = 32


@dataclass(frozen=True)
class Precision:
    """Bit widths of weights and activations: 1 to 8 each, or 32 for both (full precision).

    >>> Precision.parse("w2a4")
    Precision(weights=2, activations=4)
    >>> str(Precision(weights=32, activations=32))
    'fp32'
    """

    weights: int
    activations: int

    def __post_init__(self) -> None:
        bits = (self.weights, self.activations)
        if bits != (FLOAT_BITS, FLOAT_BITS) and not all(1 <= b <= 8 for b in bits):
            raise ValueError(
                f"precision: expected 1 to 8 bits each, or 32 for both, got weights={bits[0]}, activations={bits[1]}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the short form: `fp32`, or `w2a4`. Raises ValueError on anything else."""
        if text == "fp32":
            return cls(FLOAT_BITS, FLOAT_BITS)
        match = re.fullmatch(r"w([1-8])a([1-8])", text)
        if match is None:
            raise ValueError(f"precision: expected fp32, or w1a1 to w8a8, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    @property
    def is_float(self) -> bool:
        return self.weights == FLOAT_BITS

    def __str__(self) -> str:
        return "fp32" if self.is_float else f"w{self.weights}a{self.activations}"
