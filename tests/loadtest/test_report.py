"""The report of a load run."""

import pytest

from loadtest.client import Sent
from loadtest.report import summarize


def test_percentiles_are_of_good_answers_and_rates_of_the_whole_run() -> None:
    sent = [Sent(due=i / 100, seconds=(i + 1) / 1000, outcome="200", late=0) for i in range(100)]
    sent.append(Sent(due=1.0, seconds=1.0, outcome="429", late=0))
    report = summarize(sent, rate=100)
    assert (report.p50_ms, report.p90_ms, report.p99_ms, report.p999_ms, report.max_ms) == (50, 90, 99, 100, 100)
    assert report.outcomes == {"200": 100, "429": 1}
    assert report.answered_rate == pytest.approx(100 / 2)
    assert not report.saturated


def test_requests_that_waited_for_a_connection_make_it_saturated() -> None:
    assert summarize([Sent(0, 0.1, "200", late=0.05)] * 3, rate=1).saturated


def test_nothing_sent_is_no_report() -> None:
    with pytest.raises(ValueError, match="no request"):
        summarize([], rate=1)
