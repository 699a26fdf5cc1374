"""Capacity search, comparison and soak, on servers that are formulas."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity import Step, search
from loadtest.comparison import Round, compare, ratio, schedule
from loadtest.pressure import Pressure
from loadtest.soak import drift

IDLE = Pressure(0.1, 0.0, 0.0, 0.0)
Law = Callable[[float], bool]


def measured(holds: Law) -> Callable[[float], Step]:
    return lambda rate: Step(rate, rate, 1.0, 2.0 if holds(rate) else 99.0, 0.0, holds(rate), IDLE)


@given(knee=st.floats(10, 15_000), start=st.floats(5, 500), precision=st.sampled_from([0.02, 0.05, 0.2]))
def test_the_search_finds_a_knee_to_its_precision(knee: float, start: float, precision: float) -> None:
    """p99 of an M/M/1 queue: exponential waiting, so the knee is where ln(100) / (mu - rate) meets the objective."""
    found = search(measured(lambda rate: rate <= knee), start, 20_000, precision)
    assert found.monotone and found.ended == "found"
    if found.rate is None:
        assert knee < start / 32
    else:
        assert knee * (1 - precision) - 1e-6 <= found.rate <= knee


def test_the_search_brackets_an_mm1_queue() -> None:
    mu, objective_ms = 1000.0, 10.0
    found = search(measured(lambda rate: rate < mu and 1000 * np.log(100) / (mu - rate) <= objective_ms), 100, 20_000)
    assert found.rate == pytest.approx(mu - 1000 * np.log(100) / objective_ms, rel=0.05)
    assert [step.rate for step in found.steps[:5]] == [100, 200, 400, 800, 800]
    assert len(found.steps) < 15


def test_a_server_without_a_knee_reaches_the_ceiling() -> None:
    found = search(measured(lambda _: True), 100, 1000)
    assert (found.rate, found.ended, found.monotone) == (1000, "ceiling", True)


def test_a_server_that_never_holds_has_no_capacity() -> None:
    found = search(measured(lambda _: False), 100, 1000)
    assert found.rate is None and found.monotone
    assert found.steps[-1].rate < 5


def test_a_rate_that_holds_beyond_one_that_did_not_is_said() -> None:
    """The search looks once above the lowest rate that failed."""
    found = search(measured(lambda rate: rate <= 500 or rate > 601), 300, 20_000, 0.05)
    assert found.rate == pytest.approx(500, rel=0.05) and not found.monotone


def test_luck_is_no_capacity() -> None:
    """A rate that held once and then no more is given up for the next lower one that holds twice."""
    asked: list[float] = []

    def once(rate: float) -> bool:
        asked.append(rate)
        return rate <= 400 or (rate <= 450 and asked.count(rate) == 1)

    def measure(rate: float) -> Step:
        held = once(rate)
        return Step(rate, rate, 1.0, 2.0, 0.0, held, IDLE)

    found = search(measure, 100, 20_000, 0.02)
    assert found.rate is not None and found.rate <= 400
    assert not found.monotone


def limited_above(knee: float, generator: float) -> Callable[[float], Step]:
    """A server that holds to its knee, asked by a load generator that is the limit from some rate on."""
    held = measured(lambda rate: rate <= knee)
    return lambda rate: replace(held(rate), held=False, limited=True) if rate > generator else held(rate)


@given(knee=st.floats(100, 15_000), generator=st.floats(100, 15_000))
def test_what_held_until_the_load_generator_was_the_limit_is_kept(knee: float, generator: float) -> None:
    found = search(limited_above(knee, generator), 100, 20_000)
    if found.ended == "generator":
        assert found.words.startswith("at least ") and max(2 * generator, 100) >= found.steps[-1].rate > generator
    assert found.rate is not None and min(knee, generator) / 2 <= found.rate <= min(knee, generator)
    assert found.monotone and found.pressure == IDLE


def test_one_step_that_is_not_believed_is_measured_again() -> None:
    held, seen = measured(lambda rate: rate <= 500), set[float]()

    def measure(rate: float) -> Step:
        if rate in seen:
            return held(rate)
        seen.add(rate)
        return replace(held(rate), held=False, limited=True)

    found = search(measure, 100, 20_000)
    assert found.ended == "found" and found.rate == pytest.approx(500, rel=0.05) and found.monotone


def test_a_load_generator_that_is_the_limit_at_once_finds_nothing() -> None:
    found = search(limited_above(1000, 0), 100, 20_000)
    assert (found.rate, found.ended, len(found.steps)) == (None, "generator", 2)


def test_a_rate_that_held_by_luck_is_not_kept_when_the_generator_ends_the_search() -> None:
    verdicts = iter([(True, False), (False, False), (False, False), (False, True), (False, True)])

    def measure(rate: float) -> Step:
        held, limited = next(verdicts)
        return Step(rate, rate, 1.0, 2.0, 0.0, held, IDLE, limited)

    assert search(measure, 100, 20_000).rate == 100


def test_every_server_comes_once_in_every_round_in_an_order_that_the_seed_gives() -> None:
    found = schedule(3, 50, seed=1)
    assert all(sorted(each) == [0, 1, 2] for each in found)
    assert found == schedule(3, 50, seed=1) != schedule(3, 50, seed=2)
    assert {each[0] for each in found} == {0, 1, 2}


def rounds(rates: list[list[float]]) -> list[list[Round]]:
    return [[Round(rate, 1000 / rate, 2000 / rate, 0.0) for rate in row] for row in rates]


def test_pairs_are_of_one_round_so_that_what_hits_all_falls_out() -> None:
    """The machine's speed goes up and down a hundredfold; one server is always twice as fast."""
    chance = random.Random(0)
    speeds = [10 ** chance.uniform(1, 3) for _ in range(12)]
    rows = compare(["a", "b"], rounds([[speed, 2 * speed] for speed in speeds]), seed=0)
    assert rows[0].rate_ratio is not None and rows[0].rate_ratio.value == 1
    found, slower = rows[1].rate_ratio, rows[1].p50_ratio
    assert found is not None and slower is not None
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))
    assert slower.value == pytest.approx(0.5)
    assert rows[1].answered_rate == pytest.approx(2 * np.median(speeds))


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(0), 0
    for trial in range(200):
        noise = np.exp(generator.normal(0, 0.1, (2, 20)))
        found = ratio((1.5 * noise[0]).tolist(), noise[1].tolist(), trial)
        assert found is not None and found.low <= found.value <= found.high
        covered += found.low <= 1.5 <= found.high
    assert 175 <= covered <= 199


def test_a_round_without_an_answer_has_no_ratio() -> None:
    assert ratio([1.0, None], [1.0, 1.0], 0) is None
    assert ratio([1.0, 0.0], [1.0, 1.0], 0) is None


def test_drift_is_the_slope_over_the_run_and_no_single_interval_moves_it() -> None:
    steady = [10.0] * 20
    rising = [10 * (1 + 0.5 * i / 19) for i in range(20)]
    spiked = [*rising[:7], 500.0, *rising[8:]]
    assert drift(steady) == 0
    assert drift(rising) == pytest.approx(5 / 12.5)
    assert drift(spiked) == pytest.approx(5 / 12.5, rel=0.05)
    assert drift([1.0, 2.0]) is None and drift([None] * 9) is None
    assert drift([10.0 + i for i in range(3000)]) == pytest.approx(2999 / 1509.5, rel=0.01)
