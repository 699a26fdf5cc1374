"""`empir load run`: one rate, or one closed loop, for a while."""

import click

from loadtest.commands import objectives
from loadtest.commands.options import (
    POSITIVE,
    SHARE,
    Common,
    Unanswered,
    common_options,
    milliseconds_of,
    no_answer,
    provenance,
    read_target,
    require_listener,
)
from loadtest.commands.output import deliver, plain, summary
from loadtest.exchange import exchange
from loadtest.page.sections import run_page
from loadtest.pressure import Pressure
from loadtest.recording import Recording
from loadtest.report import Report, intervals, summarize
from loadtest.subject import named, read_subject
from loadtest.target import Target
from loadtest.view import watched
from loadtest.workload import Workload

STRETCHES = 60
P99_HELP = "Objective for p99, what is not answered 200 being infinitely late; missing it is exit code 4."


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@click.option("--rate", type=POSITIVE, default=100, show_default=True, help="Requests a second.")
@click.option("--closed", is_flag=True, help="No rate: each connection sends as soon as it has its answer.")
@click.option("--duration", type=POSITIVE, default=10, show_default=True, help="Seconds that are measured.")
@click.option("--p99", callback=milliseconds_of, help=P99_HELP)
@click.option("--errors", type=SHARE, help="Objective for the share that is not answered 200; likewise.")
@common_options()
def run(
    url: str, rate: float, closed: bool, duration: float, p99: float | None, errors: float | None, common: Common
) -> None:
    """Send real images to the server at URL and report latency from the moment each request was due.

    A URL without a path means its /predict, or the protocol's route for an OIP body. Exit codes: 0 measured, 1 nothing
    was answered 200, 2 wrong usage, 3 the load generator was the limit, 4 an objective was missed.

    \b
    Examples:
      empir load run --rate 200 --duration 10 http://127.0.0.1:8000
      empir load run --closed --body oip-binary --mode quorum
      empir load run --rate 500 --p99 10ms --errors 0 --json
      empir load run --rate 300 --probes 0.001 --html load.html
    """
    target = read_target(url, common)
    work, offered, seconds = common.work(target), None if closed else rate, duration + common.warmup
    told = provenance()
    require_listener(target)
    subject = read_subject(target, common.bundle)
    about = named({"measured": subject})
    with watched(f"{target.name}, {'closed loop' if closed else f'{rate:g} requests a second'}", seconds) as watch:
        recording, pressure = common.sent(target, common.plan(work, offered, seconds, partial=True), watch)
    report = measured(recording, pressure, offered, seconds, common.warmup)
    if report.outcomes.get("200"):
        common.believe(pressure)
    kept = recording.of(recording.due >= common.warmup)
    over_time = intervals(recording, max(0.5, seconds / STRETCHES), seconds)
    facts = (common.setting([target], common.loop(offered)), told)
    title = f"Load on {target.name}"
    page = run_page(title, about, report, over_time, kept, *facts)
    deliver(common, plain(report, subject), summary(report), title, page, about)
    require_answers(report, target, work)
    objectives.require(report, p99, errors)


def measured(
    recording: Recording, pressure: Pressure, rate: float | None, seconds: float, warmup: float = 0.0
) -> Report:
    """`summarize`, where nothing sent is a message."""
    try:
        return summarize(recording, pressure, rate, seconds, warmup)
    except ValueError as error:
        raise Unanswered(f"{error}: raise --rate or --duration") from error


def require_answers(report: Report, target: Target, work: Workload) -> None:
    """Fail, with what the server says, if nothing was answered 200."""
    if report.outcomes.get("200"):
        return
    try:
        status, body = exchange(target.base, work.predictions[0])
    except OSError as error:
        raise no_answer(target, error) from error
    said = body[:300].decode(errors="replace")
    raise Unanswered(f"{target.name}: every request was refused; it answers {status}: {said}")
