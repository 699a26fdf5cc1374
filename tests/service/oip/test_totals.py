"""The workers' statistics together, those of the gone included."""

from service.oip.statistics import Statistics
from service.oip.totals import Totals


def did(images: int) -> Statistics:
    statistics = Statistics()
    statistics.of("a", "1").images = images
    return statistics


def test_what_the_gone_have_handed_over_last_stays() -> None:
    totals = Totals()
    totals.put(1, did(3))
    totals.put(2, did(10))
    totals.put(1, did(5))
    assert totals.total().of("a", "1").images == 15
    totals.leave(1)
    totals.leave(3)  # one that never handed over anything
    assert totals.total().of("a", "1").images == 15
    totals.put(1, did(100))
    assert totals.total().of("a", "1").images == totals.total().of("a", "1").images == 115
