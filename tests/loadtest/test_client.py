"""The load generator against a server that does as it is told."""

import itertools
import socket
import time
from collections import Counter
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import urlsplit

import numpy as np
import pytest

from loadtest.alarm import Alarm
from loadtest.client import Glance, Plan, address_of, drive
from loadtest.connection import Connection
from loadtest.recording import PROBE, Recording
from tests.loadtest.toy_server import Reply, Script, Seen, Toy, answer, toy

REQUEST = b"POST /predict HTTP/1.1\r\nHost: toy\r\nContent-Length: 4\r\n\r\nbody"


def sent(server: Toy, n: int, connections: int = 1, timeout: float = 30.0, request: bytes = REQUEST) -> Recording:
    """n requests, all due at once."""
    plan = Plan(itertools.repeat((0, request)), 1.0, connections, iter([0.0] * n), timeout)
    return drive(address_of(urlsplit(server.url)), plan)[0]


def test_every_request_is_sent_once_and_noted_by_status() -> None:
    with toy(lambda index, _: answer((200, 500)[index % 2])) as server:
        recording = sent(server, 20, connections=3)
    assert recording.outcomes() == {"200": 10, "500": 10}
    assert Counter(each.body for each in server.seen) == {b"body": 20}
    assert {each.connection for each in server.seen} == {0, 1, 2}
    assert (recording.seconds >= recording.late).all() and (recording.late >= 0).all()


def in_pieces(whole: bytes) -> Reply:
    return Reply(tuple(bytes([each]) for each in whole))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nxyz\r\n0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply((CHUNKED,)), id="chunked"),
        pytest.param(in_pieces(CHUNKED), id="chunked, byte by byte"),
        pytest.param(in_pieces(answer().pieces[0]), id="byte by byte"),
        pytest.param(Reply((CONTINUE,)), id="100 continue first"),
        pytest.param(answer(body=b"x" * 1_000_000), id="a megabyte"),
    ],
)
def test_answers_in_every_form_keep_the_connection(reply: Reply) -> None:
    with toy(lambda *_: reply) as server:
        assert sent(server, 5).outcomes() == {"200": 5}
        assert server.connections == 1


def test_a_body_that_does_not_fit_the_socket_is_sent_whole() -> None:
    body = bytes(range(256)) * 40_000
    head = f"POST / HTTP/1.1\r\nHost: toy\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with toy(lambda *_: answer()) as server:
        assert sent(server, 3, request=head + body).outcomes() == {"200": 3}
        assert all(each.body == body for each in server.seen)


@pytest.mark.parametrize("announced", [True, False])
def test_a_keep_alive_that_the_server_ends_is_no_error(announced: bool) -> None:
    """Where the answer does not announce it, the next request may go out too early: it is sent once more."""
    reply = answer(more="Connection: close\r\n" if announced else "")
    with toy(lambda *_: Reply(reply.pieces, close=True)) as server:
        recording = sent(server, 6)
        assert recording.outcomes() == {"200": 6}
        assert server.connections >= 6
    assert not (announced and recording.resent.any()), "only what went out in vain is sent again"


def test_what_is_sent_again_is_counted() -> None:
    """Every connection is closed without a word when its second request has been read."""
    on: Counter[int] = Counter()

    def script(_: int, request: Seen) -> Reply:
        on[request.connection] += 1
        return answer() if on[request.connection] == 1 else Reply(close=True)

    with toy(script) as server:
        recording = sent(server, 4)
    assert recording.outcomes() == {"200": 4} and recording.resent.tolist() == [False, True, True, True]


def test_a_reset_without_an_answer_is_noted_and_not_hidden() -> None:
    """A request on a connection that was used is sent twice at most; the first on a connection once."""
    with toy(lambda *_: Reply(reset=True)) as server:
        assert sent(server, 4).outcomes() == {"reset": 4}
        assert len(server.seen) <= 8


def test_an_answer_cut_off_is_a_reset_and_not_sent_again() -> None:
    cut = Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",), close=True)
    with toy(lambda *_: cut) as server:
        assert sent(server, 3).outcomes() == {"reset": 3}
        assert len(server.seen) == 3


def test_what_is_no_http_is_garbled() -> None:
    with toy(lambda *_: Reply((b"SSH-2.0-OpenSSH\r\n\r\n",))) as server:
        assert sent(server, 2).outcomes() == {"garbled": 2}


def test_refusals_are_noted_with_their_status() -> None:
    with toy(lambda index, _: answer(429, more="Retry-After: 1\r\n") if index % 3 else answer()) as server:
        recording = sent(server, 9)
    assert recording.outcomes() == {"200": 3, "429": 6}
    assert int(recording.good.sum()) == 3


def test_nobody_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert sent(Toy(lambda *_: answer(), port), 3, connections=2).outcomes() == {"refused": 3}


def test_an_answer_that_never_comes_ends_and_so_does_what_waits_for_it() -> None:
    def silent(*_: object) -> Reply:
        return Reply()

    with toy(silent) as server:
        recording = sent(server, 4, timeout=0.05)
    assert set(recording.outcomes()) <= {"timeout", "unsent"} and recording.outcomes()["timeout"] >= 1
    assert len(recording) == 4 and not recording.good.any()


def test_latency_counts_from_when_a_request_was_due_not_from_when_it_was_sent() -> None:
    """No coordinated omission: one connection, the first answer held until the second request has been due for long."""
    gate = Gate()
    due = [0.0, 0.01, 0.02]
    plan = Plan(itertools.repeat((0, REQUEST)), 1.0, 1, iter(due))
    with toy(gate) as server:
        recording, _ = drive(address_of(urlsplit(server.url)), plan)
    assert recording.due.tolist() == pytest.approx(due, abs=1e-6)
    ends = recording.done
    assert (np.diff(ends) >= 0).all()
    assert recording.late[1] >= ends[0] - due[1] - 1e-6, "the second waited for the first's answer"
    assert recording.seconds[2] >= ends[1] - due[2] - 1e-6


class Gate:
    """Answers the first request with a great many pieces, so that the others wait."""

    def __call__(self, index: int, _: object) -> Reply:
        return Reply(tuple(bytes([each]) for each in answer(body=b"x" * 3000).pieces[0])) if index == 0 else answer()


def test_a_closed_loop_keeps_every_connection_busy_and_no_more() -> None:
    plan = Plan(itertools.repeat((0, REQUEST)), 0.2, 4)
    with toy(lambda *_: answer()) as server:
        recording, pressure = drive(address_of(urlsplit(server.url)), plan)
        assert server.connections == 4
    assert recording.outcomes() == {"200": len(server.seen)} and len(recording) >= 4
    assert (recording.late < recording.seconds).all() and recording.due.max() < 0.2
    assert pressure.cpu > 0


def test_kinds_are_noted_and_a_watcher_sees_every_request_at_most_once() -> None:
    seen: list[Glance] = []
    requests = itertools.cycle([(0, REQUEST), (PROBE, REQUEST)])
    script: Script = lambda *_: answer()  # noqa: E731
    with toy(script) as server:
        plan = Plan(requests, 2.0, 2, iter([0.0] * 10 + [1.2]))
        recording, _ = drive(address_of(urlsplit(server.url)), plan, seen.append)
    assert Counter(recording.kind.tolist()) == {0: 6, PROBE: 5}
    assert [len(glance.last) for glance in seen] == [10]


@pytest.mark.parametrize("partial", [True, False])
def test_an_interrupt_ends_a_run_with_what_there_is_or_is_raised(partial: bool) -> None:
    def interrupt(_: Glance) -> None:
        raise KeyboardInterrupt

    plan = Plan(itertools.repeat((0, REQUEST)), 60.0, 1, iter([0.0, 50.0]), partial=partial)
    with toy(lambda *_: answer()) as server:
        if partial:
            assert drive(address_of(urlsplit(server.url)), plan, interrupt)[0].outcomes() == {"200": 1}
        else:
            with pytest.raises(KeyboardInterrupt):
                drive(address_of(urlsplit(server.url)), plan, interrupt)


def test_an_alarm_rings_not_before_its_time_and_again_when_set_again() -> None:
    alarm = Alarm()
    with DefaultSelector() as selector:
        if alarm.fd is not None:
            selector.register(alarm.fd, EVENT_READ)
        for delay in (0.02, 0.005):
            alarm.set(60)
            begun = time.perf_counter()
            selector.select(alarm.set(delay))
            assert time.perf_counter() - begun >= delay
    alarm.close()


def test_an_informational_answer_is_not_the_answer() -> None:
    """Read on its own, by one connection turned by hand."""
    outcomes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, DefaultSelector() as selector:
        address = address_of(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        connection = Connection(address, selector, lambda _, outcome: outcomes.append(outcome))
        connection.send(REQUEST)
        with listener.accept()[0] as accepted:
            turn(selector, connection)
            assert accepted.recv(1000) == REQUEST
            accepted.sendall(CONTINUE[:25])
            turn(selector, connection)
            assert outcomes == []
            accepted.sendall(CONTINUE[25:])
            turn(selector, connection)
        assert outcomes == ["200"]
        connection.close()


def turn(selector: DefaultSelector, connection: Connection) -> None:
    """Take in what has come."""
    for _, events in selector.select(30):
        connection.ready(events)
