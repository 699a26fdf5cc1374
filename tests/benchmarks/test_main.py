"""`python -m benchmarks`: what it can measure is told, and a broken promise is an exit code."""

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import BENCHMARKS, Benchmark, main
from benchmarks.context import Context
from benchmarks.figure import Figure


def figures(*good: bool) -> Benchmark:
    def measure(context: Context) -> list[Figure]:
        return [Figure(f"figure {place}", "below 2", f"{place}.5", holds) for place, holds in enumerate(good)]

    return Benchmark(measure, "made up")


def test_help_names_every_figure_with_what_it_is() -> None:
    said = CliRunner().invoke(main, ["--help"]).output
    for name, each in BENCHMARKS.items():
        assert [line.split() for line in said.splitlines()].count([name, *each.what.split()]) == 1


@pytest.mark.parametrize(("good", "code"), [((True, True), 0), ((True, False), 1)], ids=["kept", "broken"])
def test_figures_stand_beside_promises(good: tuple[bool, ...], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "size", figures(*good))
    result = CliRunner().invoke(main, ["size"], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    rows = [line.split() for line in result.output.splitlines() if line.strip().startswith("figure ")]
    words = {True: "yes", False: "no"}
    assert rows[1:] == [["figure", str(k), "below", "2", f"{k}.5", words[each]] for k, each in enumerate(good)]


def test_what_there_is_none_of_is_refused_with_those_that_there_are() -> None:
    result = CliRunner().invoke(main, ["speed"])
    assert result.exit_code == 2 and all(f"'{name}'" in result.output for name in BENCHMARKS)
