"""Options that the commands share, and what follows from them."""

import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from loadtest.arrivals import Pattern, arrivals
from loadtest.client import Plan, Watch, address_of, drive
from loadtest.exchange import knock
from loadtest.machine import machine, pin
from loadtest.pictures import open_pictures
from loadtest.pressure import Pressure
from loadtest.recording import Recording
from loadtest.target import BODIES, Body, Target
from loadtest.workload import Mode, Workload, workload

POSITIVE = click.FloatRange(0, min_open=True)
SHARE = click.FloatRange(0, 1)


class Unanswered(click.ClickException):
    """Nothing was answered 200."""

    exit_code = 1


class Saturated(click.ClickException):
    """The load generator was the limit, not the server."""

    exit_code = 3


class Missed(click.ClickException):
    """An objective was missed."""

    exit_code = 4


def milliseconds_of(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """An option's time in milliseconds, written `10ms`, `0.5s` or, in milliseconds, `10`."""
    if value is None:
        return None
    number, factor = (value[:-2], 1) if value.endswith("ms") else (value.removesuffix("s"), 1000)
    if number == value:
        factor = 1
    try:
        found = float(number) * factor
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise click.BadParameter(f"expected a time as 10ms or 0.5s, got {value}", ctx, param)
    return found


@dataclass(frozen=True)
class Common:
    """What is sent and how, the same for every command."""

    body: Body
    mode: Mode | None
    bundle: str | None
    probes: float
    images: tuple[Path, ...]
    connections: int
    pattern: Pattern
    seed: int
    timeout: float
    warmup: float
    core: int | None
    force: bool
    as_json: bool
    html: Path | None

    def plan(self, work: Workload, rate: float | None, seconds: float, seed: int = 0, partial: bool = False) -> Plan:
        """Requests for `seconds`, the warm-up included; without a rate a closed loop."""
        due = None if rate is None else arrivals(rate, seconds, self.pattern, self.seed + seed)
        return Plan(work.stream(self.seed + seed), seconds, self.connections, due, self.timeout, partial)

    def work(self, target: Target) -> Workload:
        """The requests for a server. Raises click's exceptions."""
        try:
            return workload(target, open_pictures(self.images), self.mode, self.bundle, self.probes)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            raise no_answer(target, error) from error

    def sent(self, target: Target, plan: Plan, watch: Watch | None = None) -> tuple[Recording, Pressure]:
        """Carry a plan out."""
        try:
            return drive(address_of(target.parts), plan, watch)
        except OSError as error:
            raise no_answer(target, error) from error

    def believe(self, pressure: Pressure) -> None:
        """Refuse to report where the load generator was the limit, unless --force says otherwise."""
        if pressure.saturated and not self.force:
            raise Saturated(f"no report: {pressure.saturated} (--force reports anyway)")

    def loop(self, rate: float | None) -> str:
        """When requests are sent, in words."""
        return "closed loop: an answer sends the next" if rate is None else f"{self.pattern}, {rate:g} a second"

    def setting(self, targets: Sequence[Target], arrivals: str) -> dict[str, str]:
        """Servers and workload, for a report."""
        return {
            **{target.name: f"{target.url}, body {target.body}" for target in targets},
            "images": f"{len(self.images)} given" if self.images else "the samples",
            "mode": self.mode or "as in the URL, or the server's default",
            "bundle": self.bundle or "as in the URL, or the server's default",
            "probes": f"{self.probes:.2%} of the requests",
            "connections": str(self.connections),
            "arrivals": arrivals,
            "seed": str(self.seed),
            "warm-up": f"{self.warmup:g} s, not counted",
            "timeout": f"{self.timeout:g} s",
        }


def require_listener(target: Target) -> None:
    """Fail at once where nobody is there, not after all the seconds of a run."""
    try:
        knock(target.base)
    except OSError as error:
        raise no_answer(target, error) from error


def no_answer(target: Target, error: OSError) -> Unanswered:
    """Nobody is there."""
    return Unanswered(f"{target.base}: no answer ({error.strerror or error}); is the server running?")


def provenance() -> dict[str, str]:
    """Command and machine, for a report."""
    words = sys.argv[1:]
    return {"command": shlex.join(["empir", "load", *words[words[:1] == ["load"] :]]), **machine()}


def read_target(text: str, common: Common) -> Target:
    """A server from the command line."""
    try:
        return Target.read(text, common.body)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


_PICTURE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OPTIONS = (
    click.option("--body", type=click.Choice(BODIES), default="png", show_default=True, help="How images are sent."),
    click.option(
        "--mode", type=click.Choice(["full", "quorum"]), help="How the ensemble votes. [the server's default]"
    ),
    click.option("--bundle", help="Which bundle, or which model of the protocol. [the server's default]"),
    click.option("--probes", type=SHARE, default=0.0, show_default=True, help="Share of POST /robustness-probe."),
    click.option("--image", "images", multiple=True, type=_PICTURE, help="Pictures to send in turn. [samples/*.png]"),
    click.option("--connections", "-c", type=click.IntRange(1, 1024), default=16, show_default=True, help="Kept open."),
    click.option(
        "--pattern",
        type=click.Choice(["constant", "poisson"]),
        default="poisson",
        show_default=True,
        help="Arrivals at a rate: evenly spaced, or at random as those of many users are.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of arrivals, probes and orders."),
    click.option("--timeout", type=POSITIVE, default=30.0, show_default=True, help="Seconds for an answer."),
    click.option("--core", type=click.IntRange(0), help="Keep the load generator on this core."),
    click.option("--force", is_flag=True, help="Report although the load generator was the limit."),
    click.option("--json", "as_json", is_flag=True, help="The report, for machines."),
    click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="The report as a page."),
)


def common_options(warmup: float = 1.0) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The shared options, handed to a command as `common`; `warmup` is the default of --warmup."""
    help_text = "Seconds before that, not counted."
    warm = click.option("--warmup", type=click.FloatRange(0), default=warmup, show_default=True, help=help_text)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def gathered(**values: Any) -> None:
            common = Common(**{field.name: values.pop(field.name) for field in fields(Common)})
            if common.html is not None and not common.html.absolute().parent.is_dir():
                raise click.UsageError(f"--html: expected a file in a folder that is there, got {common.html}")
            try:
                pin(common.core)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            command(common=common, **values)

        for option in reversed((warm, *_OPTIONS)):
            gathered = option(gathered)
        return gathered

    return decorate
