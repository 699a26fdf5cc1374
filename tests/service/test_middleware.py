"""The edge: limits on requests that never get inside, request ids, one log line and one measurement each."""

import asyncio
import io
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from service.logs import make_logger
from service.metrics import Metrics
from service.middleware import METHODS, Edge
from service.settings import Settings
from tests.live import Live, Start, problem_of, until_closed
from tests.toy_catalog import DOT, YES, full, low, toy_catalog

HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"


@dataclass(frozen=True)
class Closing:
    """Bytes that are refused so that the connection is closed."""

    id: str
    data: bytes
    status: int
    code: str
    says: str


CLOSING = [
    Closing("no Host", b"GET /health/live HTTP/1.1\r\n\r\n", 400, "malformed", "exactly one such header, got 0"),
    Closing("no Host, HTTP/1.0", b"GET /health/live HTTP/1.0\r\n\r\n", 400, "malformed", "got 0"),
    Closing("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "malformed", "header, got 2"),
    Closing("announced 10 MB and 1", HEAD + b"Content-Length: 10000001\r\n\r\n", 413, "body_too_large", "10,000,000"),
    Closing("announced 10 EB", HEAD + b"Content-Length: 9999999999999999999\r\n\r\n", 413, "body_too_large", "bytes"),
    Closing(
        "announced, asking first",
        HEAD + b"Content-Length: 10000001\r\nExpect: 100-continue\r\n\r\n",
        413,
        "body_too_large",
        "expected at most 10,000,000 bytes",
    ),
    Closing(
        "in chunks",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"80000\r\n" + bytes(0x80000) + b"\r\n") * 20,
        413,
        "body_too_large",
        "expected at most 10,000,000 bytes",
    ),
]


@pytest.mark.parametrize("closing", CLOSING, ids=lambda closing: closing.id)
def test_such_a_request_is_refused_and_its_connection_closed(server: Live, picture: bytes, closing: Closing) -> None:
    answer = server.raw(closing.data)  # returns because the server closes
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {closing.status} ".encode())
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (closing.status, closing.code)
    assert closing.says in problem["detail"]
    assert problem["request_id"].encode() in head
    assert server.predict(picture).status_code == 200


def test_a_body_that_does_not_come_is_408(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)), body_timeout_s=0.05)
    answer = server.raw(HEAD + b"Content-Length: 100\r\n\r\n" + bytes(7))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow","detail":"body: expected all of it within 0.05 s, got 7 bytes"' in answer
    assert server.predict(DOT).status_code == 200
    assert server.metric("empir_requests_rejected_total", reason="body_too_slow") == 1


def test_bodies_together_hold_no_more_than_they_may(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)), max_bodies_bytes=1000)
    bodies, large = server.app.state.edge.bodies, DOT + bytes(200)
    with server.connect() as slow:
        slow.sendall(HEAD + b"Content-Length: 2000\r\n\r\n" + bytes(1000 - len(DOT)))
        while bodies.held < 1000 - len(DOT):
            server.settle()
        assert server.predict(DOT).status_code == 200
        refused = server.predict(large)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert problem_of(refused)["detail"].startswith(f"requests under way hold {1000 - len(DOT)} bytes of bodies")
        slow.sendall(bytes(len(DOT) + 1))
        assert until_closed(slow).startswith(b"HTTP/1.1 429 ")  # what has come of it is let go
    assert server.predict(large).status_code == 200
    server.settle()
    assert bodies.held == 0


@pytest.mark.parametrize("given", ["a", "A-b_c.d", "9" * 64, "urn:uuid:6e8b"])
def test_a_sane_request_id_is_kept(server: Live, given: str) -> None:
    response = server.http.get("/health/live", headers={"X-Request-ID": given})
    assert response.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "9" * 65, "a b", '"', "<script>", "a\tb"])
def test_another_request_id_is_replaced(server: Live, given: str) -> None:
    response = server.http.get("/health/live", headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_every_request_has_one_log_line(server: Live, picture: bytes) -> None:
    answered = server.predict(picture, mode="quorum")
    refused = server.http.post("/predict?mode=no")
    unknown = server.http.request("PROPFIND", "/no/such")
    lines = [server.logged(response.headers["x-request-id"]) for response in (answered, refused, unknown)]
    assert [len(each) for each in lines] == [1, 1, 1]
    first, second, third = (each[0] for each in lines)
    assert {"event", "level", "timestamp", "method", "path", "status", "ms", "bundle", "mode", "label"} < first.keys()
    assert (first["method"], first["path"], first["status"], first["mode"]) == ("POST", "/predict", 200, "quorum")
    assert first["ms"] > 0
    assert (second["status"], second["code"]) == (422, "invalid_value")
    assert (third["method"], third["path"], third["status"], third["code"]) == ("other", "/no/such", 404, "not_found")


def test_every_request_is_measured_under_closed_labels(server: Live) -> None:
    name = "empir_http_request_duration_seconds_count"
    seen = [
        ("GET", "/health/live", "/health/live", "GET", "200"),
        ("POST", "/predict", "/predict", "POST", "400"),
        ("GET", "/predict", "/predict", "GET", "405"),
        ("GET", "/secret/7", "other", "GET", "404"),
        ("PROPFIND", "/secret/8", "other", "other", "404"),
    ]
    for method, path, route, counted, status in seen:
        before = server.metric(name, route=route, method=counted, status=status)
        server.http.request(method, path)
        settling = path == "/health/live"  # which asks for this path itself
        assert server.metric(name, route=route, method=counted, status=status) == before + 1 + settling
    page = {"/", "/page/start.json", "/page/gallery/{bundle}/{index}.png", "/page/{name:path}", "/docs"}
    routes = {*server.app.openapi()["paths"], *page, "/openapi.json", "other"}
    samples = [s for metric in server.state.metrics.registry.collect() for s in metric.samples if s.name == name]
    assert samples
    for sample in samples:
        assert sample.labels["route"] in routes
        assert sample.labels["method"] in METHODS | {"other"}
        assert sample.labels["status"].isdigit()


def test_refusals_are_counted_by_their_code(server: Live) -> None:
    for path, code in (("/predict?mode=no", "invalid_value"), ("/predict", "malformed"), ("/no", "not_found")):
        before = server.metric("empir_requests_rejected_total", reason=code)
        server.http.post(path)
        counted = code != "not_found"
        assert server.metric("empir_requests_rejected_total", reason=code) == before + counted


def test_a_client_that_leaves_is_logged_and_hurts_nobody(server: Live, picture: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"X-Request-ID: left\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert b"100 Continue" in connection.recv(100)  # the body is waited for
    seen = next(filter(None, (server.logged("left") for _ in range(1000))))
    assert [line["status"] for line in seen] == [499]
    assert server.predict(picture).status_code == 200


def exchange(app: Any, headers: list[tuple[bytes, bytes]]) -> tuple[list[Message], list[dict[str, Any]]]:
    """What an ASGI application behind the edge sends, and what the edge logs."""
    lines = io.StringIO()
    settings = Settings(log_format="json")
    edge = Edge(app, settings, Metrics(CollectorRegistry()), make_logger(settings, lines))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(edge(scope, receive, send))
    return sent, [json.loads(line) for line in lines.getvalue().splitlines()]


def test_what_is_unforeseen_is_a_500_whose_cause_is_in_the_log() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("secret")

    sent, lines = exchange(broken, [(b"host", b"a"), (b"x-request-id", b"me")])
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]
    assert [line["event"] for line in lines] == ["failed", "request"]
    assert "KeyError: 'secret'" in lines[0]["exception"]
    assert [line["request_id"] for line in lines] == ["me", "me"]
    assert (lines[1]["status"], lines[1]["code"]) == (500, "internal")


def test_an_answer_that_fails_half_way_is_in_the_log() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("secret")

    _, lines = exchange(broken, [(b"host", b"a")])
    assert [line["event"] for line in lines] == ["failed", "request"]
