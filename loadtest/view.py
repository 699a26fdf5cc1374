"""The live view of a run: a process of its own, so that drawing never makes a request late."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadtest.client import Glance, Watch
from loadtest.latency import Latency, milliseconds

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 60


@contextmanager
def watched(title: str, seconds: float) -> Iterator[Watch | None]:
    """What tells a view about a run; None where no terminal is there to draw on."""
    if not sys.stderr.isatty():
        yield None
        return
    command = [sys.executable, "-m", "loadtest.view", title, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        to = process.stdin
        try:
            yield lambda glance: _tell(to, glance)
        finally:
            with suppress(OSError):
                to.close()


def line_of(glance: Glance) -> str:
    """What the view is told, as a line of JSON."""
    latency = Latency.of(glance.last.seconds[glance.last.good])
    return json.dumps(
        {
            "at": glance.at,
            "in_flight": glance.in_flight,
            "waiting": glance.waiting,
            "p50": latency.p50_ms,
            "p99": latency.p99_ms,
            "answered": latency.n,
            "outcomes": glance.last.outcomes(),
        }
    )


def _tell(to: IO[bytes], glance: Glance) -> None:
    with suppress(OSError, ValueError):  # a view that has gone is no reason to end a run
        to.write(line_of(glance).encode() + b"\n")
        to.flush()


@dataclass
class View:
    """The last minute, as it is drawn."""

    title: str
    seconds: float
    rates: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    at: float = 0.0

    def tell(self, told: dict[str, Any]) -> Table:
        """Take one line in, and draw."""
        self.outcomes.update(told["outcomes"])
        rate = told["answered"] / max(told["at"] - self.at, 1e-9)
        self.at = told["at"]
        self.rates = [*self.rates, rate][-WIDTH:]
        self.p99s = [*self.p99s, told["p99"] or 0.0][-WIDTH:]
        table = Table(show_header=False, box=None, title=self.title, title_justify="left", title_style="bold")
        table.add_row("time", f"{self.at:.0f} of {self.seconds:.0f} s")
        table.add_row("answered", Text.assemble(f"{rate:,.0f}/s  ", (spark(self.rates), "blue")))
        p50, p99 = milliseconds(told["p50"]), milliseconds(told["p99"])
        table.add_row("p50, p99", Text.assemble(f"{p50}, {p99}  ", (spark(self.p99s), "yellow")))
        table.add_row("in flight", f"{told['in_flight']} and {told['waiting']} waiting for a connection")
        parts = [(f"{name}: {count:,}  ", "green" if name == "200" else "red") for name, count in self.outcomes.items()]
        table.add_row("outcomes", Text.assemble(*parts))
        return table


def spark(values: list[float]) -> str:
    """Values as bars from 0 to the largest.

    >>> spark([0, 1, 2, 4])
    ' ▂▄█'
    """
    most = max(values, default=0) or 1
    return "".join(BARS[round((len(BARS) - 1) * value / most)] for value in values)


def main(title: str, seconds: float, lines: IO[str]) -> None:
    """Draw what the lines tell until they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which then ends the lines
    view = View(title, seconds)
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        for line in lines:
            live.update(view.tell(json.loads(line)), refresh=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.stdin)
