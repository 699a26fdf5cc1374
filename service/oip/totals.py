"""The statistics of several workers together, of those that have ended too."""

from service.oip.statistics import Statistics


class Totals:
    """What each worker has handed over last; so totals never fall below what has been said once."""

    def __init__(self) -> None:
        self._of: dict[int, Statistics] = {}
        self._gone = Statistics()

    def put(self, pid: int, statistics: Statistics) -> None:
        """What a worker has done since it started."""
        self._of[pid] = statistics

    def leave(self, pid: int) -> None:
        """A worker has ended: what it has handed over last stays."""
        if pid in self._of:
            self._gone.add(self._of.pop(pid))

    def total(self) -> Statistics:
        """What all of them have done."""
        total = Statistics()
        for statistics in (self._gone, *self._of.values()):
            total.add(statistics)
        return total
