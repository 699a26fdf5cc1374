"""The commands of `empir load` against a toy server: what they print, write and return."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadtest.cli import main
from loadtest.client import Plan, Watch, drive
from loadtest.connection import Address
from loadtest.pressure import Pressure
from loadtest.recording import Recording
from tests.loadtest.toy_server import Reply, Seen, answer, toy

VOID = {"meta", "link", "br", "img", "hr"}
QUIET = Pressure(0.1, 0.01, 0.02, 0.03)
BUSY = Pressure(0.99, 0.01, 0.02, 0.03)
METRICS = b"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1.25e+08\n"


def ordinary(_: int, request: Seen) -> Reply:
    return answer(body=METRICS) if request.path == "/metrics" else answer()


def load(*arguments: str) -> Result:
    """A command, with short runs."""
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs tests may be busy: the generator's own state is not what they are about."""
    generator_is(QUIET, monkeypatch)


def generator_is(pressure: Pressure, monkeypatch: pytest.MonkeyPatch) -> None:
    def driven(address: Address, plan: Plan, watch: Watch | None = None) -> tuple[Recording, Pressure]:
        return drive(address, plan, watch)[0], pressure

    monkeypatch.setattr("loadtest.commands.options.drive", driven)


class Page(HTMLParser):
    """Reads a page: every element closed, its text, what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.policy = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert not {"src", "href", "style", "onload"} & set(found), f"{tag}: {found}"
        self.tags.append(tag)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.words.append(data.strip())


def read_page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and "script" not in page.tags and "svg" in page.tags
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "http" not in text.replace("http://127.0.0.1", "").replace("http-equiv", "")
    return page


RUN = ("--rate", "100", "--duration", "0.3", "--warmup", "0")


def test_run_reports_for_machines_and_as_a_page(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    with toy(lambda index, _: answer(429) if index == 3 else answer()) as server:
        result = load("run", server.url, *RUN, "--json", "--html", str(path))
        assert len(server.seen) > 10
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["outcomes"] == {"200": report["requests"] - 1, "429": 1} and report["offered_rate"] == 100
    assert report["latency"]["p50_ms"] > 0 and report["pressure"]["cpu"] == QUIET.cpu
    page = read_page(path)
    for expected in (
        f"{report['requests'] - 1:,}",
        "429",
        "16",
        "poisson, 100 a second",
        f"Load on {server.url}",
        "10.0% of a core",
    ):
        assert expected in page.words, expected
    assert f"{report['latency']['p50_ms']:.3g} ms" in page.words


def test_a_closed_loop_for_people() -> None:
    with toy(ordinary) as server:
        result = load("run", server.url, "--closed", "-c", "2", "--duration", "0.2", "--warmup", "0")
    assert result.exit_code == 0, result.output
    assert "as many as are answered" in result.output and "10% of a core" in result.output


def test_a_saturated_generator_does_not_report_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    generator_is(BUSY, monkeypatch)
    with toy(ordinary) as server:
        refused, forced = load("run", server.url, *RUN), load("run", server.url, *RUN, "--force")
        compared = load(
            "compare", f"a={server.url}", f"b={server.url}", "--rounds", "2", "--duration", "0.1", "--warmup", "0"
        )
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "no report: the load generator used 99% of its core" in refused.stderr and "--force" in refused.stderr
    assert forced.exit_code == 0 and "not to be believed" in forced.stdout
    assert (compared.exit_code, compared.stdout) == (3, "")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (("--p99", "0.0001ms"), "p99: the objective is 0.0001 ms"),
        (("--errors", "0.1"), "errors: the objective is 10.00%"),
    ],
)
def test_a_missed_objective_has_an_exit_code(objective: tuple[str, str], message: str) -> None:
    with toy(lambda index, _: answer(503) if index % 2 else answer()) as server:
        result = load("run", server.url, *RUN, *objective)
    assert result.exit_code == 4 and message in result.stderr and "503" in result.stdout


def mostly_refused(index: int, request: Seen) -> Reply:
    return answer(429) if index % 10 else ordinary(index, request)


@pytest.mark.parametrize("command", ["run", "soak"])
def test_refusing_most_requests_quickly_holds_no_latency(command: str) -> None:
    with toy(mostly_refused) as server:
        result = load(command, server.url, *RUN, "--p99", "20s")
    assert result.exit_code == 4 and "counts as infinitely late" in result.stderr, result.output
    assert command == "soak" or "not in these percentiles" in " ".join(result.stdout.split())


def test_a_capacity_is_no_rate_of_refusals() -> None:
    """However many errors are allowed."""
    short = ("--step", "0.2", "--warmup", "0", "--start", "100", "--p99", "20s", "--errors", "1")
    with toy(mostly_refused) as server:
        result = load("capacity", server.url, *short)
    assert result.exit_code == 4 and "no rate held" in result.stderr, result.output


def test_a_server_that_refuses_everything_is_quoted() -> None:
    with toy(lambda *_: answer(422, b'{"detail": "mode: expected full"}')) as server:
        result = load("run", server.url, *RUN)
    assert result.exit_code == 1 and "it answers 422" in result.stderr and "mode: expected full" in result.stderr


def test_nobody_there_is_said() -> None:
    words = "Error: http://127.0.0.1:9: no answer (Connection refused); is the server running?\n"
    for command in ("run", "soak"):
        result = load(command, "http://127.0.0.1:9", "--duration", "3600")
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", words)
    result = load("run", "http://127.0.0.1:9", *RUN, "--body", "oip-json")
    assert result.exit_code == 1 and "is the server running?" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "ftp://x"),
        ("run", "--p99", "soon"),
        ("compare",),
        ("compare", "http://h"),
        ("compare", "http://h", "http://h"),
        ("run", "--image", __file__),
        ("run", "--html", "no/such/folder.html"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert load(*arguments).exit_code == 2


def test_capacity_prints_each_step_and_draws_the_curve(tmp_path: Path) -> None:
    path = tmp_path / "capacity.html"
    short = ("--step", "0.2", "--warmup", "0", "--start", "50", "--ceiling", "100", "--p99", "20s")
    with toy(ordinary) as server:
        result = load("capacity", server.url, *short, "--json", "--html", str(path))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["rate"], found["ended"], found["monotone"]) == (100, "ceiling", True)
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["50/s", "100/s"]
    words = read_page(path).words
    assert "100/s" in words and "Latency against rate" in words and "holds" in words


def test_capacity_keeps_what_held_when_the_load_generator_is_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def driven(address: Address, plan: Plan, watch: Watch | None = None) -> tuple[Recording, Pressure]:
        recording = drive(address, plan, watch)[0]
        return recording, BUSY if len(recording) > 15 else QUIET

    monkeypatch.setattr("loadtest.commands.options.drive", driven)
    path = tmp_path / "capacity.html"
    short = ("--step", "0.2", "--warmup", "0", "--p99", "20s", "--pattern", "constant")
    with toy(ordinary) as server:
        found = load("capacity", server.url, *short, "--start", "50", "--html", str(path))
        nothing = load("capacity", server.url, *short, "--start", "100")
        forced = load("capacity", server.url, *short, "--start", "100", "--ceiling", "100", "--force")
    words = "at least 50/s; the load generator was the limit beyond"
    assert found.exit_code == 0 and words in " ".join(found.stdout.split()), found.output
    assert found.stderr.count("not believed") == 2 and words in read_page(path).words
    assert (nothing.exit_code, nothing.stdout) == (3, "") and "used 99% of its core" in nothing.stderr
    assert forced.exit_code == 0 and "100/s  holds" in forced.stderr


def closes_the_second(index: int, request: Seen) -> Reply:
    return Reply(close=True) if index % 2 else answer()


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--duration", "0.3", "--rate", "100"),
        ("soak", "--duration", "0.3", "--rate", "100"),
        ("capacity", "--step", "0.3", "--start", "100", "--ceiling", "100", "--errors", "1"),
    ],
    ids=lambda command: command[0],
)
def test_requests_that_were_sent_again_are_told(command: tuple[str, ...]) -> None:
    with toy(closes_the_second) as server:
        result = load(command[0], server.url, *command[1:], "-c", "1", "--warmup", "0")
    assert "were sent once more" in " ".join(result.stdout.split()), result.output


def test_a_server_that_holds_nothing_has_no_capacity() -> None:
    with toy(lambda index, _: answer(503) if index % 2 else answer()) as server:
        result = load(
            "capacity",
            server.url,
            "--step",
            "0.1",
            "--warmup",
            "0",
            "--start",
            "200",
            "--p99",
            "20s",
            "--pattern",
            "constant",
        )
    assert result.exit_code == 4 and "no rate held" in result.stderr


def growing(index: int, request: Seen) -> Reply:
    """Its memory is as many megabytes as it was sent requests."""
    return answer(body=b"process_resident_memory_bytes %de6\n" % index) if request.path == "/metrics" else answer()


def test_soak_tells_each_interval_and_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "soak.html"
    short = ("--rate", "200", "--duration", "0.6", "--interval", "0.2", "--warmup", "0.4")
    with toy(growing) as server:
        result = load("soak", server.url, *short, "--json", "--html", str(path))
        table = load("soak", server.url, *short)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["intervals"]) == 3 == len(found["memory_bytes"])
    told = [*found["memory_bytes"], found["memory_end_bytes"]]
    assert found["memory_start_bytes"] == told[0] > 3e6, "some requests were answered before: the warm-up"
    assert None not in told and told == sorted(set(told)), "read while it grows"
    assert sum(each["requests"] for each in found["intervals"]) == found["report"]["requests"]
    words = " ".join(table.output.split())
    assert f"{told[1] / 1e6:.0f} MB" in read_page(path).words and "MB after the warm-up" in words


def test_compare_pairs_the_servers(tmp_path: Path) -> None:
    path = tmp_path / "compare.html"
    with toy(ordinary) as one, toy(ordinary) as two:
        servers = (f"one={one.url}", f"two={two.url}/other#json")
        short = ("--rounds", "3", "--duration", "0.1", "--warmup", "0", "--rate", "100", "--pattern", "constant")
        result = load("compare", *servers, *short, "--json", "--html", str(path))
        assert {each.path for each in one.seen} == {"/bundles", "/predict"}
        assert {each.path for each in two.seen} == {"/other"}
        table = load("compare", *servers, *short).stdout
    assert "…" not in table and table.count(" to ") >= 3  # in 80 columns too every number is there
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)["servers"]
    assert (first["name"], second["name"], len(second["rounds"])) == ("one", "two", 3)
    assert first["p50_ratio"]["value"] == 1 and second["p50_ratio"]["low"] <= second["p50_ratio"]["value"]
    words = read_page(path).words
    assert "Side by side" in words and "two" in words and f"{second['answered_rate']:,.0f}/s" in words
