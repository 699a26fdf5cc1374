"""What a load report says of the server: of a real one the bundle that was asked, of any other nothing."""

import doctest
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import loadtest.subject
from loadtest.cli import main
from loadtest.subject import Member, Subject, named, read_subject
from loadtest.target import Target
from tests.live import HANG_S, Live
from tests.loadtest.test_cli import read_page
from tests.loadtest.toy_server import Reply, Script, Seen, Toy, answer, toy
from tests.programs import ROOT
from tests.service.conftest import server
from tests.toy_bundle import ToyBundle

__all__ = ["server"]

MEMBERS = (
    Member("w2a4-a", "w2a4", "onnxruntime"),
    Member("w2a4-b", "w2a4", "onnxruntime"),
    Member("fp32", "fp32", "onnxruntime"),
)
SHORT = ("--warmup", "0", "--connections", "1", "--force")
COMMANDS = {
    "run": ("--rate", "20", "--duration", "0.3", "--pattern", "constant"),
    "soak": ("--rate", "20", "--duration", "0.3", "--pattern", "constant"),
    "capacity": ("--start", "50", "--ceiling", "50", "--step", "0.2", "--p99", "20s", "--pattern", "constant"),
    "compare": ("--rounds", "2", "--duration", "0.1"),
}


def target(base: str, path: str = "", body: str = "png") -> Target:
    return Target.read(f"{base}{path}#{body}", "png")


def url(running: Live) -> str:
    return f"http://127.0.0.1:{running.port}"


def bundle_of(name: str = "toy", **more: object) -> dict[str, object]:
    """A bundle as GET /bundles tells of it."""
    member = {"name": "a", "precision": {"weights": 2, "activations": 4}}
    return {
        "name": name,
        "version": "7",
        "labels": ["no", "yes"],
        "input": {"channels": 1, "height": 8, "width": 8, "resize": "stretch"},
        "members": [{**member, "parameters": 1, "packed_bytes": 1, "macs": 1}],
        "vote": {"rule": "majority"},
        "report": None,
        **more,
    }


def serving(document: object) -> Script:
    """A server that says `document` of its bundles, and {} to everything else."""
    body = json.dumps(document).encode()
    return lambda _, request: answer(body=body) if request.path == "/bundles" else answer()


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def load(command: str, urls: Sequence[str], *more: str) -> Result:
    result = CliRunner().invoke(main, [command, *urls, *COMMANDS[command], *SHORT, *more])
    assert result.exit_code == 0, result.output
    return result


def expected(running: Live) -> Subject:
    """Of the toy bundle; how its members run was timed when the server started."""
    timing = running.state.catalog.get("toy").ensemble.timing
    assert timing is not None
    return Subject("toy", "1", MEMBERS, timing.chosen)


@pytest.mark.parametrize("bundle", [None, "toy"])
def test_the_bundle_asked_is_told_with_its_members(bundle: str | None, server: Live) -> None:
    found = read_subject(target(url(server)), bundle)
    assert found == expected(server)
    assert str(found).startswith("toy 1; w2a4-a (w2a4, onnxruntime), w2a4-b (w2a4, onnxruntime), fp32 (fp32, onnx")
    assert str(found).endswith(("; members side by side", "; members in turn"))


@pytest.mark.parametrize(
    ("path", "bundle", "members"),
    [
        ("/predict?mode=quorum&bundle=toy", "no", MEMBERS),
        ("/predict/", None, MEMBERS),
        ("/v2/models/toy/infer", "no", MEMBERS),
        ("/v2/models/toy/versions/1/infer", None, MEMBERS),
        ("/v2/models/toy%3Afp32/infer", None, MEMBERS[2:]),
        ("", "toy:w2a4-a", MEMBERS[:1]),
        ("", "no", None),
        ("", "toy:no", None),
        ("/v2/models/toy:no/infer", None, None),
        ("/predict?bundle=no", "toy", None),
        ("/elsewhere", "toy", None),
    ],
)
def test_url_and_option_say_which(
    path: str, bundle: str | None, members: tuple[Member, ...] | None, server: Live
) -> None:
    found = read_subject(target(url(server), path), bundle)
    whole = expected(server)
    # One member alone runs neither side by side nor in turn.
    way = whole.concurrency if members == MEMBERS else None
    assert found == (None if members is None else replace(whole, members=members, concurrency=way))


def test_an_older_server_tells_what_it_knows() -> None:
    document = {"default": "toy", "bundles": [bundle_of("other"), bundle_of()]}
    with toy(serving(document)) as running:
        found = read_subject(target(running.url), None)
    assert found == Subject("toy", "7", (Member("a", "w2a4", "onnxruntime"),), None)
    assert str(found) == "toy 7; a (w2a4, onnxruntime)"


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(answer(404, b"not here"), id="404"),
        pytest.param(answer(401, b'{"code": "key"}'), id="401"),
        pytest.param(answer(503, b"", "Retry-After: 9\r\n"), id="503"),
        pytest.param(answer(302, b"", "Location: /login\r\n"), id="302"),
        pytest.param(answer(200, b"<html>"), id="html"),
        pytest.param(answer(200, b"[]"), id="list"),
        pytest.param(answer(200, b"[" * 200_000), id="brackets"),
        pytest.param(answer(200, b"\xff\xfe\xfd"), id="bytes"),
        pytest.param(answer(200, b'{"default": "a", "bundles": []}'), id="no default"),
        pytest.param(answer(200, b"x", "Content-Encoding: gzip\r\n"), id="not gzip"),
        pytest.param(Reply((b"220 mail\r\n",), close=True), id="not HTTP"),
        pytest.param(Reply(reset=True), id="reset"),
    ],
)
def test_other_servers_are_asked_once_and_tell_nothing(reply: Reply) -> None:
    with toy(lambda *_: reply) as running:
        assert read_subject(target(running.url), None, HANG_S) is None
        assert [each.path for each in running.seen] == ["/bundles"]


def test_nobody_and_a_silent_server_tell_nothing() -> None:
    assert read_subject(target("http://127.0.0.1:9"), None) is None
    assert read_subject(target("http://a..b"), None) is None
    with silent() as base:
        assert read_subject(target(base), None, deadline_s=0.05) is None


def test_a_proxy_of_the_environment_is_not_asked(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert read_subject(target(url(server)), None) == expected(server)


@pytest.mark.parametrize("package", ["empir_client", "httpx"])
def test_without_the_client_it_is_not_told(package: str, server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert read_subject(target(url(server)), None) is None
    assert "subject" not in json.loads(load("run", [url(server)], "--json").stdout)


def test_the_client_is_loaded_only_when_a_server_is_asked() -> None:
    program = "import sys, loadtest.cli; print({'httpx', 'empir_client'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_report_says_what_was_measured(command: str, server: Live, tmp_path: Path, toy: ToyBundle) -> None:
    path, whole = tmp_path / "load.html", expected(server)
    urls, name = [url(server)], "measured"
    if command == "compare":
        urls, name = [f"one={url(server)}", f"two={url(server)}/predict?mode=quorum"], "one"
    text = load(command, urls, "--html", str(path)).stdout
    assert f"{name}: {whole}" in " ".join(text.split())
    words = read_page(path).words
    assert words[words.index(str(whole)) - 1] == name
    assert words.index(str(whole)) < words.index("Workload")
    result = json.loads(load(command, urls, "--json").stdout)
    told = [each["subject"] for each in result["servers"]] if command == "compare" else [result["subject"]]
    members = [{"name": each.name, "precision": each.precision, "engine": each.engine} for each in MEMBERS]
    one = {"name": "toy", "version": "1", "members": members, "concurrency": whole.concurrency}
    assert told == [one] * len(urls)
    assert toy.manifest.version == "1"


@pytest.mark.parametrize("command", COMMANDS)
def test_reports_on_other_servers_say_nothing(command: str, tmp_path: Path) -> None:
    path = tmp_path / "load.html"

    def foreign(_: int, request: Seen) -> Reply:
        return answer(404, b"no") if request.path == "/bundles" else answer()

    with toy(foreign) as running:
        urls = [f"one={running.url}", f"two={running.url}"] if command == "compare" else [running.url]
        text = load(command, urls, "--json", "--html", str(path))
        assert asked_first(running, len(urls))
        assert "measured:" not in load(command, urls).stdout
    assert "subject" not in text.stdout and "measured" not in read_page(path).words


def asked_first(running: Toy, times: int) -> bool:
    """Whether /bundles was asked so often, and before the load came."""
    paths = [each.path for each in running.seen if each.path != "/metrics"]
    return paths[: times + 1] == ["/bundles"] * times + ["/predict"] and paths.count("/bundles") == times


def test_in_a_comparison_those_that_tell_are_named() -> None:
    with toy(serving({"default": "[/b]", "bundles": [bundle_of("[/b]")]})) as one, toy(lambda *_: answer()) as two:
        urls = [f"one={one.url}", f"two={two.url}"]
        first, second = json.loads(load("compare", urls, "--json").stdout)["servers"]
        text = load("compare", urls).stdout
    assert first["subject"]["name"] == "[/b]" and "subject" not in second
    assert "one: [/b] 7; a (w2a4, onnxruntime)\n" in text and "two: " not in text


def test_who_is_not_known_is_not_named() -> None:
    assert named({"a": None, "b": Subject("toy", "1", MEMBERS[:1], None)}) == {"b": "toy 1; w2a4-a (w2a4, onnxruntime)"}


def test_examples_in_docstrings_hold() -> None:
    result = doctest.testmod(loadtest.subject)
    assert result.attempted and not result.failed
