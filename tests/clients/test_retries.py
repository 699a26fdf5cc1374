"""When the client tries again, and for how long it waits."""

import pytest
from empir_client import ClientTimeout, ConnectionFailed, Problem, Retries
from empir_client.retries import retry_after_s, worth_retrying
from hypothesis import given
from hypothesis import strategies as st

NOON = 1_767_225_600.0 + 12 * 3600
"""1 January 2026, 12:00 UTC."""


def problem(status: int, code: str) -> Problem:
    return Problem.codes.get(code, Problem)(status, code, "", None)


@given(st.integers(1, 50), st.none() | st.floats(0, 1000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_at_least_what_was_asked_for_and_backs_off_within_bounds(
    failed: int, asked: float | None, draw: float
) -> None:
    retries = Retries(first_wait_s=0.1, longest_wait_s=5)
    backoff = retries.wait_s(failed, asked, draw) - (asked or 0)
    assert 0.05 - 1e-9 <= backoff <= 5 + 1e-9
    assert backoff <= 0.1 * 2 ** (failed - 1) + 1e-9


def test_waits_double_until_the_longest() -> None:
    waits = [Retries(first_wait_s=1, longest_wait_s=5).wait_s(failed, None, 1.0) for failed in range(1, 6)]
    assert waits == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        *((400, "malformed", False), (404, "unknown_bundle", False), (408, "body_too_slow", False)),
        *((413, "body_too_large", False), (415, "not_an_image", False), (422, "invalid_value", False)),
        *((429, "queue_full", True), (429, "unknown", True), (500, "internal", False), (502, "unknown", False)),
        *((503, "no_quorum", False), (503, "unavailable", True), (503, "unknown", True), (504, "deadline", False)),
    ],
)
def test_only_what_may_go_better_is_tried_again(status: int, code: str, again: bool) -> None:
    assert worth_retrying(problem(status, code)) is again


def test_a_lost_connection_is_tried_again_and_a_lost_deadline_not() -> None:
    assert worth_retrying(ConnectionFailed("refused"))
    assert not worth_retrying(ClientTimeout("over"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *((None, None), ("1", 1.0), (" 120 ", 120.0), ("soon", None), ("-5", None), ("", None)),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, lambda: NOON) == seconds


@pytest.mark.parametrize(
    "wrong",
    [{"deadline_s": 0}, {"attempts": 0}, {"first_wait_s": 0}, {"first_wait_s": 2, "longest_wait_s": 1}],
    ids=str,
)
def test_impatience_beyond_reason_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a deadline and waits above 0"):
        Retries(**wrong)  # type: ignore[arg-type]
