"""What a training computes on: its device, and how its floats are rounded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch

from models.precision import Precision


@dataclass(frozen=True)
class Compute:
    """A device, and whether products are taken in half precision, bfloat16, which integer levels do not survive."""

    device: torch.device
    half: bool = False

    @classmethod
    def of(cls, precision: Precision) -> Self:
        """The GPU where there is one, and there half precision for networks that compute in float; else the CPU."""
        on_gpu = torch.cuda.is_available()
        return cls(torch.device("cuda" if on_gpu else "cpu"), half=on_gpu and precision.is_float)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    @contextmanager
    def exact_sums(self) -> Iterator[None]:
        """Without TensorFloat-32, which would round integer sums, unless products are rounded more coarsely anyway."""
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = self.half
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before
