"""The ledger: what is counted and logged of requests, entered after their answers, several at a time.

After a member has run, the processor's caches are full of weights, and every line of Python that comes next is slow.
So nothing is done before an answer that can wait, and what can wait is done for several requests in a row.
"""

import asyncio
from collections.abc import Callable

Entry = Callable[[], None]
MOST = 32
LONGEST_S = 0.02


class Ledger:
    """Entries that wait, at most `most` of them, and none longer than 20 ms while the event loop runs."""

    def __init__(self, most: int = MOST) -> None:
        """With `most` 1 nothing waits."""
        self._most = most
        self._entries: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, entry: Entry) -> None:
        """Have `entry` called soon, after those before it."""
        self._entries.append(entry)
        if len(self._entries) == self._most and self._most > 1:
            asyncio.get_running_loop().call_soon(self.flush)  # once the answer is on its way
        elif self._most == 1:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_S, self.flush)

    def flush(self) -> None:
        """Call what waits, now, all of it; what one of them raises is raised in the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entries, self._entries = self._entries, []
        failure: Exception | None = None
        for entry in entries:
            try:
                entry()
            except Exception as error:  # of one request, such as a log that nobody reads any more
                failure = error
        if failure is not None:
            raise failure
