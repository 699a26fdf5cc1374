"""The report of a load run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.latency import Latency
from loadtest.pressure import Pressure
from loadtest.recording import PREDICTION, PROBE, Notes, Recording
from loadtest.report import intervals, summarize

IDLE = Pressure(0.1, 0.0, 0.0, 0.0)


def recording(*rows: tuple[float, float, float, str, int]) -> Recording:
    """From (due, seconds, late, outcome, kind)."""
    notes = Notes()
    for row in rows:
        notes.add(*row)
    return notes.since(0)


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=300))
def test_percentiles_are_numpys_of_nearest_rank(seconds: list[float]) -> None:
    found = Latency.of(seconds)
    ordered = np.sort(np.array(seconds) * 1000)
    for share, value in ((0.5, found.p50_ms), (0.9, found.p90_ms), (0.99, found.p99_ms), (1.0, found.max_ms)):
        assert value is not None
        assert np.isclose(ordered, value, atol=6e-4).any(), "one that was measured"
        below, above = np.percentile(ordered, 100 * share, method="lower"), np.percentile(ordered, 100 * share)
        assert below - 6e-4 <= value
        assert value <= np.percentile(ordered, 100 * share, method="higher") + 6e-4 or value >= above


def test_percentiles_are_of_good_predictions_and_rates_of_the_whole_run() -> None:
    rows = [(i / 100, (i + 1) / 1000, 0.0, "200", PREDICTION) for i in range(100)]
    rows += [(1.0, 1.0, 0.0, "429", PREDICTION), (0.5, 1.4, 0.0, "200", PROBE)]
    report = summarize(recording(*rows), IDLE, 100, seconds=2)
    latency = report.latency
    assert (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms) == (50, 90, 99, 100, 100)
    assert report.probes.p50_ms == 1400 and report.probes.n == 1
    assert report.outcomes == {"200": 101, "429": 1}
    assert report.answered_rate == pytest.approx(101 / 2)
    assert report.failed == pytest.approx(1 / 102)
    assert not report.queued


def answered_of_100(good: int, bad: str) -> Recording:
    """The good ones after 1 to `good` ms, the others at once."""
    rows = [(i / 100, (i + 1) / 1000, 0.0, "200", PREDICTION) for i in range(good)]
    return recording(*rows, *[(i / 100, 0.0001, 0.0, bad, PREDICTION) for i in range(good, 100)])


@pytest.mark.parametrize("bad", ["429", "timeout", "refused", "unsent"])
def test_for_an_objective_what_was_not_answered_is_infinitely_late(bad: str) -> None:
    one, two, most = (summarize(answered_of_100(good, bad), IDLE, 100, seconds=2) for good in (99, 98, 10))
    assert (one.p99_of_all_ms, two.p99_of_all_ms, most.p99_of_all_ms) == (99, None, None)
    assert one.holds(99) and not one.holds(98.9)
    assert not two.holds(1e9) and not most.holds(1e9)
    assert most.latency.p99_ms == 10, "the percentiles that are printed stay those of answers"


def test_a_probe_that_fails_is_no_late_prediction() -> None:
    rows = [(0.1, 0.001, 0.0, "200", PREDICTION), (0.2, 0.001, 0.0, "504", PROBE)]
    report = summarize(recording(*rows), IDLE, 2, seconds=1)
    assert report.holds(1) and report.failed == 0.5


def test_the_warm_up_is_not_counted() -> None:
    early = [(0.1 * i, 5.0, 5.0, "500", PREDICTION) for i in range(10)]
    late = [(1 + 0.1 * i, 0.01, 0.0, "200", PREDICTION) for i in range(10)]
    report = summarize(recording(*early, *late), IDLE, 10, seconds=2, warmup=1)
    assert report.outcomes == {"200": 10} and report.latency.max_ms == 10
    assert report.answered_rate == pytest.approx(10)


def test_answers_after_the_end_count_for_latency_but_not_for_the_rate() -> None:
    rows = [(0.0, 0.5, 0.0, "200", PREDICTION), (0.9, 1.0, 0.0, "200", PREDICTION)]
    report = summarize(recording(*rows), IDLE, 2, seconds=1)
    assert report.answered_rate == 1 and report.latency.n == 2


def test_requests_that_waited_for_a_connection_are_queued() -> None:
    rows = [(0.0, 0.1, 0.05, "200", PREDICTION)] * 3
    assert summarize(recording(*rows), IDLE, 1, seconds=1).queued


def test_nothing_sent_is_no_report() -> None:
    with pytest.raises(ValueError, match="no request"):
        summarize(recording(), IDLE, 1, seconds=1)


def test_intervals_share_the_requests_out_by_when_they_were_due() -> None:
    rows = [(i / 10, 0.001 * (i + 1), 0.0, "200" if i % 2 else "503", PREDICTION) for i in range(30)]
    found = intervals(recording(*rows), 1.0, 3.0)
    assert [each.start for each in found] == [0, 1, 2]
    assert [each.outcomes for each in found] == [{"200": 5, "503": 5}] * 3
    assert [each.latency.max_ms for each in found] == [10, 20, 30]
    assert [each.answered_rate for each in found] == [5, 5, 5]


def test_in_a_stall_nothing_is_answered_and_what_was_due_in_it_is_late() -> None:
    """Ten requests a second; those of the second second are all answered at the beginning of the third."""
    rows = [(i / 10, 2.05 - i / 10 if 10 <= i < 20 else 0.01, 0.0, "200", PREDICTION) for i in range(30)]
    found = intervals(recording(*rows), 1.0, 3.0)
    assert [each.answered_rate for each in found] == [10, 0, 20]
    assert [each.requests for each in found] == [10, 10, 10]
    assert [each.latency.max_ms for each in found] == pytest.approx([10, 1050, 10])


@pytest.mark.parametrize(
    ("pressure", "reason"),
    [
        (Pressure(0.95, 0.0, 0.0, 0.0), "used 95% of its core"),
        (Pressure(0.2, 0.4, 1.5, 9.0), "itself 1.5 ms late"),
        (Pressure(0.9, 0.4, 1.0, 9.0), None),
    ],
)
def test_a_generator_that_was_the_limit_says_so(pressure: Pressure, reason: str | None) -> None:
    assert pressure.saturated is None if reason is None else reason in (pressure.saturated or "")
