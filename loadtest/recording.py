"""What became of every request of a run, as columns: a long run has millions."""

from array import array
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

GOOD = "200"
PREDICTION, PROBE = 0, 1
"""Kinds of requests, told apart because a probe takes a thousand times as long."""


@dataclass(frozen=True)
class Recording:
    """Requests in the order in which their answers came; times in seconds, `due` from the start of the run."""

    due: NDArray[np.float64]
    seconds: NDArray[np.float64]
    """From when it was due to its whole answer: waiting for a connection is part of it."""
    late: NDArray[np.float64]
    """From when it was due to when it was sent."""
    outcome: NDArray[np.uint8]
    """Index into `names`."""
    kind: NDArray[np.uint8]
    resent: NDArray[np.bool_]
    """Which were sent once more, because the server had closed the connection that they went out on."""
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.due)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which were answered 200."""
        return self.which(GOOD)

    def which(self, outcome: str) -> NDArray[np.bool_]:
        """Which ended so."""
        code = self.names.index(outcome) if outcome in self.names else len(self.names)
        found: NDArray[np.bool_] = self.outcome == code
        return found

    @property
    def done(self) -> NDArray[np.float64]:
        """When each answer came, in seconds from the start."""
        return self.due + self.seconds

    def of(self, which: NDArray[np.bool_]) -> Self:
        """Only those."""
        return replace(
            self,
            due=self.due[which],
            seconds=self.seconds[which],
            late=self.late[which],
            outcome=self.outcome[which],
            kind=self.kind[which],
            resent=self.resent[which],
        )

    def outcomes(self) -> dict[str, int]:
        """How many ended in which way, by name."""
        counts = np.bincount(self.outcome, minlength=len(self.names))
        return dict(sorted((name, int(count)) for name, count in zip(self.names, counts, strict=True) if count))


@dataclass
class Notes:
    """A recording while it is made."""

    due: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    late: "array[float]" = field(default_factory=lambda: array("d"))
    outcome: "array[int]" = field(default_factory=lambda: array("B"))
    kind: "array[int]" = field(default_factory=lambda: array("B"))
    resent: "array[int]" = field(default_factory=lambda: array("B"))
    codes: dict[str, int] = field(default_factory=dict)

    def add(self, due: float, seconds: float, late: float, outcome: str, kind: int, resent: bool = False) -> None:
        """Note one request."""
        self.due.append(due)
        self.seconds.append(seconds)
        self.late.append(late)
        self.outcome.append(self.codes.setdefault(outcome, len(self.codes)))
        self.kind.append(kind)
        self.resent.append(resent)

    def since(self, start: int) -> Recording:
        """A copy of what was noted from the request with this index on."""
        return Recording(
            due=np.array(self.due[start:], np.float64),
            seconds=np.array(self.seconds[start:], np.float64),
            late=np.array(self.late[start:], np.float64),
            outcome=np.array(self.outcome[start:], np.uint8),
            kind=np.array(self.kind[start:], np.uint8),
            resent=np.array(self.resent[start:], np.bool_),
            names=tuple(self.codes),
        )
