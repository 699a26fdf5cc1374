"""How far long work has come, in lines: for logs and pipes, where no bar can be drawn."""

import time
from collections.abc import Callable

LONGEST_SILENCE_S = 60.0
"""While something gets done."""


class ProgressLines:
    """Says a line at each tenth of the work, and after a minute without one, with the time left at the pace so far."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._start = self._said = clock()
        self._done, self._tenths = 0.0, 0

    def advance(self, name: str, share: float) -> None:
        """Another `share`, of 1 in all, is done, of what is called `name`."""
        self._done += share
        now, tenths = self._clock(), int(10 * self._done + 1e-6)  # shares do not add up to 1 exactly
        if tenths == self._tenths and now - self._said < LONGEST_SILENCE_S:
            return
        self._said, self._tenths = now, tenths
        left = (now - self._start) * max(0.0, 1 / self._done - 1)
        self._say(f"{self._done:.0%} done, about {minutes(left)} left: {name}")


def minutes(seconds: float) -> str:
    """Minutes and seconds.

    >>> minutes(150.2)
    '2:30'
    """
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02}"
