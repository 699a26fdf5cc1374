"""Limits on headers and on silence. Each of these connections is closed by the server, or the test would hang."""

import json

import pytest

from tests.live import Live, Start, until_closed
from tests.toy_catalog import DOT, YES, full, low, toy_catalog

LINE = b"GET /health/live HTTP/1.1\r\n"
ALIVE = LINE + b"Host: a\r\n\r\n"
LAST = LINE + b"Host: a\r\nConnection: close\r\n\r\n"


def headers(count: int) -> bytes:
    """That many small headers, the Host among them."""
    return b"Host: a\r\n" + b"".join(b"X-%d: a\r\n" % index for index in range(count - 1))


REFUSED = {
    "101 headers": LINE + headers(101) + b"\r\n",
    "a header of 64 KB": LINE + b"Host: a\r\nX: " + b"a" * 65536 + b"\r\n\r\n",
    "64 KB in two headers": LINE + b"Host: a\r\n" + 2 * (b"X: " + b"a" * 32768 + b"\r\n") + b"\r\n",
    "64 KB without an end": LINE + b"Host: a\r\nX: " + b"a" * 65536,
    "a name of 64 KB": LINE + b"a" * 65537,
    "a path of 64 KB": b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "64 KB of empty lines": b"\r\n" * 40000,
    "a second request of 101 headers": ALIVE + LINE + headers(101) + b"\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_too_much_before_the_body_is_400_and_closed(server: Live, picture: bytes, data: bytes) -> None:
    head, _, body = server.raw(data).rpartition(b"\r\n\r\n")
    assert b"HTTP/1.1 400 Bad Request\r\n" in head
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "malformed")
    assert "headers: expected at most" in problem["detail"]
    assert server.predict(picture).status_code == 200


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", b"\x16\x03\x01\x02\x00", LINE + b"Host a\r\n\r\n"])
def test_what_is_no_http_is_400_and_closed(server: Live, data: bytes) -> None:
    answer = server.raw(data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["code"] == "malformed"


def test_as_much_as_is_allowed_is_answered(server: Live) -> None:
    assert server.raw(LINE + b"Connection: close\r\n" + headers(99) + b"\r\n").startswith(b"HTTP/1.1 200 ")
    long = b"X: " + b"a" * 65000 + b"\r\n"
    assert server.raw(LINE + b"Host: a\r\nConnection: close\r\n" + long + b"\r\n").startswith(b"HTTP/1.1 200 ")
    # The limits are a request's, not a connection's: the second of two has its own.
    answers = server.raw(LINE + headers(100) + b"\r\n" + LINE + b"Connection: close\r\n" + headers(99) + b"\r\n")
    assert answers.count(b"HTTP/1.1 200 ") == 2


def test_a_body_that_comes_with_its_headers_does_not_count_as_headers(server: Live) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n"
    assert server.raw(head + bytes(200_000)).startswith(b"HTTP/1.1 415 ")


SILENT = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a line": b"GET / HT",
    "half the headers": LINE + b"Host: a\r\nX",
    "half a second request": ALIVE + b"GET /",
}


@pytest.mark.parametrize("data", SILENT.values(), ids=SILENT.keys())
def test_a_silent_connection_is_closed(start: Start, data: bytes) -> None:
    server = start(toy_catalog(low(YES), full(YES)), header_timeout_s=0.05)
    assert server.raw(data).count(b"HTTP/1.1 200 ") == data.count(ALIVE)
    assert server.predict(DOT).status_code == 200


@pytest.mark.parametrize("rest", [b"\r\n", b"a"], ids=["an empty line", "a part of the body"])
def test_a_byte_after_the_answer_does_not_keep_a_connection_for_ever(start: Start, rest: bytes) -> None:
    """uvicorn's keep-alive timer ends with the first byte; no request needs to begin with it."""
    server = start(toy_catalog(low(YES), full(YES)), header_timeout_s=0.05)
    announced = b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(ALIVE if rest == b"\r\n" else announced)
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        connection.sendall(rest)
        until_closed(connection)


def test_a_connection_that_is_used_stays(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)), header_timeout_s=30.0)
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(ALIVE)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(LAST)
        assert until_closed(connection).startswith(b"HTTP/1.1 200 ")
