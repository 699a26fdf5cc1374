"""The exact ways to write a layer of which export takes one: which it takes, and how another is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ways:
    """What an export does where it could do otherwise with the same integers; the defaults are what it does.

    They were chosen by the times of many layers (few_channels.py, few_bits.py; `python -m benchmarks kernels`), not by
    a stopwatch at every export: the same network is the same file on every machine.
    """

    rows_as_channels: bool = True
    """Convolutions over few channels take the rows of the kernel as channels."""
    pooled_first: bool = True
    """Levels are pooled before they are clipped to their bits."""
    few_bits_from: int | None = 1 << 20
    """Linear layers of so many weights read them in 2 or 4 bits, None: no layer does. Smaller ones stay in the cache,
    where the int8 kernel is faster."""


EXPORTED = Ways()
OTHERS = {
    "channels as they are": Ways(rows_as_channels=False),
    "clipped, then pooled": Ways(pooled_first=False),
    "weights in few bits": Ways(few_bits_from=1 << 17),
    "weights in 8 bits": Ways(few_bits_from=None),
}
"""By what each does otherwise."""
