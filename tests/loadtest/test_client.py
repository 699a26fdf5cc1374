"""The client against a real server on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from loadtest.cli import main
from loadtest.client import Plan, send


class Echo(BaseHTTPRequestHandler):
    """Answers 200 to `good`, 500 to anything else."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if body == b"good" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/predict?mode=quorum"
        server.shutdown()
        thread.join()


def test_every_request_is_sent_once_in_turn_and_noted(url: str) -> None:
    sent = send(url, Plan(iter([0.0] * 20), [b"good", b"bad"]), connections=3, content_type="image/png")
    assert len(sent) == 20
    assert sorted(each.outcome for each in sent) == ["200"] * 10 + ["500"] * 10


def test_a_server_that_is_not_there_is_noted_and_said() -> None:
    sent = send("http://127.0.0.1:9/", Plan(iter([0.0]), [b""]), connections=1, content_type="image/png")
    assert [each.outcome for each in sent] == ["refused"]
    arguments = ["run", "http://127.0.0.1:9", "--rate", "20", "--duration", "0.1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "is the server running?" in result.output


def test_the_report_for_machines_counts_by_outcome(url: str) -> None:
    arguments = ["run", url, "--image", __file__, "--rate", "50", "--duration", "0.2", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    assert "every request was refused" in result.stderr
    report = json.loads(result.stdout)
    assert report["outcomes"] == {"500": report["requests"]} and report["p50_ms"] is None
