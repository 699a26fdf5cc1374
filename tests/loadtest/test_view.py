"""The live view: what it is told, and what it draws."""

import doctest
import importlib
import json

import numpy as np
import pytest
from rich.console import Console

from loadtest.client import Glance
from loadtest.recording import Notes
from loadtest.view import View, line_of, watched


def glance(at: float, n: int, outcome: str = "200") -> Glance:
    notes = Notes()
    for index in range(n):
        notes.add(at - 1 + index / n, 0.002, 0.0, outcome, 0)
    return Glance(at, 3, 5, notes.since(0))


def test_it_draws_what_the_run_tells() -> None:
    view = View("a server", 10)
    view.tell(json.loads(line_of(glance(1.0, 100))))
    table = view.tell(json.loads(line_of(glance(3.0, 50, "429"))))
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table)
    text = captured.get()
    for expected in ("a server", "3 of 10 s", "3 and 5 waiting", "200: 100", "429: 50", "0/s"):
        assert expected in text, expected
    assert view.rates == [100, 0]


def test_a_line_says_the_last_seconds_percentiles() -> None:
    told = json.loads(line_of(glance(1.0, 10)))
    assert (told["p50"], told["answered"], told["outcomes"]) == (2.0, 10, {"200": 10})


def test_without_a_terminal_there_is_no_view() -> None:
    with watched("a server", 1.0) as watch:
        assert watch is None


@pytest.mark.parametrize("name", ["view", "latency", "page.markup", "page.charts"])
def test_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"loadtest.{name}"))
    assert result.attempted and not result.failed


def test_a_recording_keeps_its_columns_together() -> None:
    notes = Notes()
    for index in range(10):
        notes.add(index, index / 10, 0.0, str(200 + index % 2), index % 2)
    part = notes.since(4).of(np.array([True, False] * 3))
    assert part.due.tolist() == [4, 6, 8] and part.outcomes() == {"200": 3}
    assert part.done.tolist() == pytest.approx([4.4, 6.6, 8.8])
