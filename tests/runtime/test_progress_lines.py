"""runtime/progress_lines.py: not silent for long, and not a line for each step."""

import pytest

from runtime.progress_lines import ProgressLines


def lines(shares: list[float], seconds_a_step: float) -> list[str]:
    """What is said when each of these shares took so long."""
    said: list[str] = []
    now = 0.0
    progress = ProgressLines(said.append, lambda: now)
    for index, share in enumerate(shares):
        now += seconds_a_step
        progress.advance(f"step {index}", share)
    return said


def test_short_steps_give_a_line_at_each_tenth_with_the_time_left() -> None:
    said = lines([0.01] * 100, 1.5)
    assert len(said) == 10
    assert (said[0], said[4]) == ("10% done, about 2:15 left: step 9", "50% done, about 1:15 left: step 49")
    assert said[-1] == "100% done, about 0:00 left: step 99"


@pytest.mark.parametrize(("seconds", "count"), [(61.0, 20), (31.0, 10)])
def test_of_long_steps_no_more_than_a_minute_is_silent(seconds: float, count: int) -> None:
    assert len(lines([0.05] * 20, seconds)) == count


def test_a_step_of_more_than_a_tenth_gives_one_line() -> None:
    assert lines([0.35, 0.65], 1.0) == ["35% done, about 0:02 left: step 0", "100% done, about 0:00 left: step 1"]
