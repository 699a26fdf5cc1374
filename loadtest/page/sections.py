"""The pages of the commands: what was measured in large figures, charts, tables, and what made them."""

from collections.abc import Mapping, Sequence

import numpy as np

from loadtest.capacity import Capacity
from loadtest.comparison import Ratio, Row
from loadtest.latency import Latency, milliseconds
from loadtest.page.charts import Point, histogram, key, lines, ratios
from loadtest.page.markup import Element, definitions, element, section, table
from loadtest.pressure import Pressure
from loadtest.recording import PREDICTION, Recording
from loadtest.report import Interval, Report
from loadtest.soak import Soak

Facts = Mapping[str, str]
BINS = 48
PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


def run_page(
    title: str,
    about: Facts,
    report: Report,
    stretches: Sequence[Interval],
    recording: Recording,
    setting: Facts,
    told: Facts,
) -> list[Element]:
    """Of one run; `about` is what was measured, in words, as far as it is known."""
    offered = "closed loop" if report.offered_rate is None else f"{report.offered_rate:,.0f} a second offered"
    reading = {
        "p50": milliseconds(report.latency.p50_ms),
        "p99": milliseconds(report.latency.p99_ms),
        f"answered 200, {offered}": f"{report.answered_rate:,.0f}/s",
    }
    return [
        *_head(title, about, reading, report.pressure),
        element("div", _over_time(stretches), _histogram(recording, report.latency), class_="pair"),
        section("Outcomes", _outcomes(report)),
        *_origin(setting, told, report.pressure),
    ]


def soak_page(
    title: str, about: Facts, soaked: Soak, recording: Recording, setting: Facts, told: Facts
) -> list[Element]:
    """Of a long run."""
    report = soaked.report
    reading = {
        f"p50, drift {_share(soaked.drift_p50)}": milliseconds(report.latency.p50_ms),
        f"p99, drift {_share(soaked.drift_p99)}": milliseconds(report.latency.p99_ms),
    }
    if soaked.memory_start_bytes is not None and soaked.memory_end_bytes is not None:
        name = f"memory of the server, {megabytes(soaked.memory_start_bytes)} after the warm-up"
        reading[name] = megabytes(soaked.memory_end_bytes)
    rows = [
        [
            f"{row.start:g} s",
            f"{row.answered_rate:,.0f}/s",
            *_percentiles(row.latency),
            megabytes(memory),
            _counts(row.outcomes),
        ]
        for row, memory in zip(soaked.intervals, soaked.memory_bytes, strict=True)
    ]
    heads = ("from", "answered", *PERCENTILES, "memory", "outcomes")
    return [
        *_head(title, about, reading, report.pressure),
        element("div", _over_time(soaked.intervals), _histogram(recording, report.latency), class_="pair"),
        section("Outcomes", _outcomes(report)),
        section("Interval by interval", table("Intervals", heads, rows)),
        *_origin(setting, told, report.pressure),
    ]


def capacity_page(
    title: str, about: Facts, found: Capacity, objective: float, setting: Facts, told: Facts
) -> list[Element]:
    """Of a search, with the throughput-latency curve."""
    steps = sorted(found.steps, key=lambda step: step.rate)
    believed = [step for step in steps if not step.limited]
    curves = {
        "p50": [(step.rate, step.p50_ms) for step in believed if step.p50_ms is not None],
        "p99": [(step.rate, step.p99_ms) for step in believed if step.p99_ms is not None],
    }
    missed = [(step.rate, each) for step in believed if not step.held for each in (step.p50_ms, step.p99_ms) if each]
    rows = [
        [
            f"{step.rate:,.0f}/s",
            f"{step.answered_rate:,.0f}/s",
            milliseconds(step.p50_ms),
            milliseconds(step.p99_ms),
            f"{step.failed:.1%}",
            step.verdict,
        ]
        for step in steps
    ]
    chart = lines("Latency against rate", curves, "requests a second, offered", objective, missed)
    caption = f"Hollow: the objective was missed. Dotted: p99 {objective:g} ms."
    monotone = [] if found.monotone else [_note("Not monotone: a rate held above one that did not.")]
    heads = ("rate", "answered", "p50", "p99", "failed", "")
    return [
        *_head(title, about, {f"the highest rate with p99 under {objective:g} ms": found.words}, found.pressure),
        *monotone,
        section("Latency against rate", key(list(curves)), chart, _note(caption)),
        section("Steps", table("Steps", heads, rows)),
        *_origin(setting, told, found.pressure),
    ]


def compare_page(
    title: str, about: Facts, rows: Sequence[Row], pressure: Pressure, setting: Facts, told: Facts
) -> list[Element]:
    """Of several servers."""
    best = max(rows, key=lambda row: row.answered_rate)
    cells = [
        [
            row.name,
            f"{row.answered_rate:,.0f}/s",
            milliseconds(row.p50_ms),
            milliseconds(row.p99_ms),
            f"{row.failed:.1%}",
            str(row.rate_ratio or "none"),
            str(row.p50_ratio or "none"),
        ]
        for row in rows
    ]
    heads = ("server", "answered", "p50", "p99", "failed", "rate, ratio", "p50, ratio")
    base = rows[0].name
    return [
        *_head(title, about, {f"answered by {best.name}, the most": f"{best.answered_rate:,.0f}/s"}, pressure),
        element(
            "div",
            _ratios("Rate", {row.name: row.rate_ratio for row in rows[1:]}, base),
            _ratios("p50 latency", {row.name: row.p50_ratio for row in rows[1:]}, base),
            class_="pair",
        ),
        section("Side by side", table("Servers", heads, cells), _note("Medians over the rounds.")),
        *_origin(setting, told, pressure),
    ]


def _head(title: str, about: Facts, reading: Facts, pressure: Pressure) -> list[Element]:
    figures = [element("div", element("b", value), element("span", name)) for name, value in reading.items()]
    head = element(
        "header", element("h1", element("small", "Load report"), title), *([definitions(about)] if about else [])
    )
    figures_row = element("div", *figures, class_="figures")
    if pressure.saturated is None:
        return [head, figures_row]
    return [element("p", f"Not to be believed: {pressure.saturated}", class_="alarm", role="alert"), head, figures_row]


def _over_time(stretches: Sequence[Interval]) -> Element:
    named = {"p50": "p50_ms", "p90": "p90_ms", "p99": "p99_ms"}
    series: dict[str, list[Point]] = {
        name: [(each.start, value) for each in stretches if (value := getattr(each.latency, field)) is not None]
        for name, field in named.items()
    }
    title = "Latency over time"
    return section(title, key(list(series)), lines(title, series, "when requests were due, in seconds from the start"))


def _histogram(recording: Recording, latency: Latency) -> Element:
    title = "Latencies"
    values = 1000 * recording.seconds[recording.good & (recording.kind == PREDICTION)]
    if not values.size:
        return section(title, _note("Nothing was answered 200."))
    low, high = max(1e-3, float(values.min())) / 1.02, float(values.max()) * 1.02
    edges = np.geomspace(low, high, BINS + 1)
    counts = [int(n) for n in np.histogram(values, edges)[0]]
    named = {"p50": latency.p50_ms, "p90": latency.p90_ms, "p99": latency.p99_ms, "p99.9": latency.p999_ms}
    marks = {name: value for name, value in named.items() if value is not None and low <= value <= high}
    return section(
        title, element("p", "Requests by latency", class_="keys"), histogram(title, list(edges), counts, marks)
    )


def _outcomes(report: Report) -> Element:
    rows = [[name, f"{n:,}", f"{n / report.requests:.3%}"] for name, n in report.outcomes.items()]
    rows.append(["all", f"{report.requests:,}", ""])
    if report.resent:
        rows.append(["of these sent twice, their connection being closed", f"{report.resent:,}", ""])
    named = {"of predictions": report.latency, **({"of probes": report.probes} if report.probes.n else {})}
    times = [[name, *_percentiles(each)] for name, each in named.items()]
    return element(
        "div",
        table("Outcomes", ("outcome", "requests", "share"), rows),
        table("Latency", ("latency", *PERCENTILES), times),
    )


def _percentiles(of: Latency) -> list[str]:
    return [milliseconds(each) for each in (of.p50_ms, of.p90_ms, of.p99_ms, of.p999_ms, of.max_ms)]


def _ratios(what: str, found: Mapping[str, Ratio | None], base: str) -> Element:
    rows = {name: (each.value, each.low, each.high) for name, each in found.items() if each is not None}
    title = f"{what}, over {base}"
    if not rows:
        return section(title, _note("Nothing to compare."))
    return section(title, ratios(title, rows, f"times that of {base}, log scale, 95% intervals"))


def _origin(setting: Facts, told: Facts, pressure: Pressure) -> list[Element]:
    late = f"{pressure.late_p50_ms:g}, {pressure.late_p90_ms:g}, {pressure.late_p99_ms:g} ms"
    generator = {"CPU": f"{pressure.cpu:.1%} of a core", "late itself": f"{late} (p50, p90, p99)"}
    words = "Latency counts from the moment a request was due to its whole answer, waiting for a connection included."
    return [
        section("Workload", definitions(setting), _note(words)),
        section("Load generator", definitions(generator)),
        section("Machine and command", definitions(told)),
    ]


def _note(text: str) -> Element:
    return element("p", text, class_="note")


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in outcomes.items())


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:+.1%}"


def megabytes(value: int | None) -> str:
    """`120 MB`, of bytes."""
    return "not told" if value is None else f"{value / 1e6:.0f} MB"
