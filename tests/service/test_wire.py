"""The wire under hot routes: the same answers as the plain way's, and a client's leaving seen whatever it has sent."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import uvicorn

from service.protocol import GuardedProtocol
from service.wire import fits
from tests.live import HANG_S, Live, Start
from tests.service.oip.bodies import fp32
from tests.toy_catalog import DOT, YES, Gate, full, low, toy_catalog
from tests.toys import W2A4

PIXEL = np.zeros((1, 1, 1, 1), np.float32)
INFER = "/v2/models/toy/infer"


def request(body: bytes, path: str = "/predict", head: str = "", close: bool = True) -> bytes:
    """A POST as bytes."""
    last = "Connection: close\r\n" if close else ""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{last}Content-Length: {len(body)}\r\n{head}\r\n".encode() + body


BODY, HEADERS = fp32(PIXEL)
BINARY = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


@dataclass(frozen=True)
class Sent:
    """Bytes that a client sends before it waits for the connection to be closed, and the statuses of its answers."""

    id: str
    data: bytes
    statuses: tuple[bytes, ...] = (b"200",)


ROW = request(DOT, close=False) + request(BODY, INFER, BINARY, close=False) + request(DOT)
CHUNKED = "POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
SENT = [
    Sent("a picture", request(DOT)),
    Sent("a traced picture", request(DOT, head=f"traceparent: 00-{'a' * 32}-{'b' * 16}-01\r\nX-Request-ID: me\r\n")),
    Sent("tensors as bytes", request(BODY, INFER, BINARY)),
    Sent("requests in a row", ROW, (b"200", b"200", b"200")),
    Sent("HTTP/1.0", request(DOT).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b"")),
    Sent("in chunks", CHUNKED.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(DOT), DOT)),
    Sent("nothing", request(b""), (b"400",)),
    Sent("no picture", request(b"no picture"), (b"415",)),
    Sent("too much", b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 10000001\r\n\r\n", (b"413",)),
    Sent("a tensor that is none", request(b"{}", INFER), (b"400",)),
    Sent("refused, then a picture", request(b"no picture", close=False) + request(DOT), (b"415", b"200")),
    Sent("a head alone", b"HEAD /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", (b"405",)),
    Sent("another method", b"GET /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", (b"405",)),
]
VARYING = re.compile(rb"date: [^\r]*|x-request-id: [0-9a-f]{32}|\"request_id\":\"[0-9a-f]{32}\"|dur=[\d.]+")
TIMES = re.compile(rb"(_ms\":|\"(decode|queue|inference|vote|total)\":)[\d.e-]+")
LENGTH = re.compile(rb"content-length: \d+")


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.id)
def test_an_unknown_uvicorn_gives_the_same_answers(start: Start, monkeypatch: pytest.MonkeyPatch, sent: Sent) -> None:
    server = start(toy_catalog(low(YES), full(YES)))
    answers = [server.raw(sent.data)]
    monkeypatch.setattr(GuardedProtocol, "wired", False)
    answers.append(server.raw(sent.data))
    assert tuple(re.findall(rb"HTTP/1\.1 (\d+) ", answers[0])) == sent.statuses
    wired, plain = (LENGTH.sub(b"", TIMES.sub(rb"\1", VARYING.sub(b"", answer))) for answer in answers)
    assert wired == plain


@pytest.mark.parametrize(
    ("version", "known"),
    [("0.33.9", False), ("0.34.0", True), ("0.54.1.dev2", True), ("0.55.0", False), ("1.0", False), ("odd", False)],
)
def test_the_wire_lies_under_versions_of_uvicorn_that_are_known(version: str, known: bool) -> None:
    assert fits(version) is known


def test_the_wire_lies_under_the_uvicorn_that_is_installed() -> None:
    assert fits(uvicorn.__version__) and GuardedProtocol.wired


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A member that keeps the only core until it is opened; opened in the end whatever happens."""
    monkeypatch.setattr("service.settings.usable_cores", lambda: 1)
    gate = Gate("a", W2A4, YES)
    yield gate
    gate.opened.set()


@pytest.mark.parametrize("padding", [0, 100_000], ids=["small", "above uvicorn's high water mark"])
def test_a_client_that_leaves_while_it_waits_is_not_run(
    start: Start, gate: Gate, padding: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(toy_catalog(gate, other := full(YES)))
    with ThreadPoolExecutor(1) as pool, server.connect() as connection:
        running = pool.submit(server.predict, DOT)
        assert gate.entered.wait(HANG_S)
        connection.sendall(leaving(padding))
        assert any(server.metric("empir_queue_depth") == 1 for _ in range(1000))
        connection.close()
        assert any(gone(server) for _ in range(1000))
        gate.opened.set()
        assert running.result().status_code == 200
    assert server.metric("empir_queue_depth") == 0
    assert len(other.asked) == 1
    (line,) = server.logged("left")
    assert line["status"] == 499
    assert not caplog.records  # for uvicorn nothing has gone wrong


def leaving(padding: int) -> bytes:
    """A request for a pixel, in a body that is so much longer than it must be."""
    body = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,1,1,1],"data":[0]}]}' + b" " * padding
    return request(body, INFER, "X-Request-ID: left\r\n", close=False)


def gone(server: Live) -> bool:
    """Whether the server has seen that the one who waits has left."""
    server.settle()
    return all(waiting.left() for waiting in server.state.scheduler._waiting)
