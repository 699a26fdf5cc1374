"""The base of every part of a report, and the number that most of them hold: a share with its interval."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from robustness.reporting.wilson import wilson


class Part(BaseModel):
    """Base of every part of a report: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Share(Part):
    """`count` of `n` images, as a share in [0, 1], with its 95% interval (Wilson)."""

    count: int
    n: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, n: int) -> Self:
        low, high = wilson(count, n)
        share = count / n if n else 0.0
        return cls(count=count, n=n, share=round(share, 6), low=round(low, 6), high=round(high, 6))
