"""When to try again, and how long to wait before: numbers in, numbers out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from empir_client.errors import ClientError, ConnectionFailed, Problem


@dataclass(frozen=True)
class Retries:
    """How patient a client is. What may go better next time is tried again: 429, 503 `unavailable`, no connection."""

    deadline_s: float = 60.0
    """For a whole call: every try, and the waits between them."""
    attempts: int = 6
    """At most, the first one included; 1 never tries again."""
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    """The wait doubles up to here. What Retry-After asks for comes on top of it, and is not bounded by it."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or self.attempts < 1 or not 0 < self.first_wait_s <= self.longest_wait_s:
            raise ValueError(f"expected a deadline and waits above 0, and at least 1 attempt, got {self}")

    @property
    def once(self) -> "Retries":
        """The same deadline, and no second try."""
        return replace(self, attempts=1)

    def wait_s(self, failed: int, asked_s: float | None, draw: float) -> float:
        """The wait after `failed` tries, of which the server asked for `asked_s`; `draw` in [0, 1) is the jitter.

        >>> Retries().wait_s(1, None, 0.0), Retries().wait_s(3, None, 1.0), Retries().wait_s(1, 2.0, 0.0)
        (0.05, 0.4, 2.05)
        """
        backoff = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failed - 1))
        return (asked_s or 0.0) + backoff * (1 + draw) / 2


def worth_retrying(error: ClientError) -> bool:
    """Whether the same request may go better next time. No 4xx does, but for 429; no quorum stays no quorum."""
    if isinstance(error, Problem):
        # A 503 without a code is of something before the server, such as a proxy that has nobody behind it.
        return error.status == 429 or (error.status == 503 and error.code in ("unavailable", "unknown"))
    return isinstance(error, ConnectionFailed)


def retry_after_s(header: str | None, now: Callable[[], float]) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None for none, or one that is neither.

    `now` is the time of day in seconds since 1970.
    """
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now())
    except ValueError:
        return None
