"""Both clients against a scripted server: what is sent, what is tried again, what is raised."""

import io
import pickle
from pathlib import Path
from typing import Any

import httpx
import pytest
from empir_client import (
    Client,
    ClientError,
    ClientTimeout,
    ConnectionFailed,
    NoQuorum,
    Problem,
    QueueFull,
    Retries,
    Unavailable,
    UnexpectedAnswer,
)
from PIL import Image

from service.errors import STATUS
from tests.clients.transports import PATIENT, RUNS, Run, Scripted, ok, refused

BUNDLES = {"default": "toy", "bundles": []}
run_with_both = pytest.mark.parametrize("run", RUNS, ids=["Client", "AsyncClient"])


def ask_bundles(client: Client) -> Any:
    return client.bundles()


@run_with_both
def test_an_image_is_sent_as_it_is_with_the_parameters_that_were_given(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(b"picture")
    for image in (path, str(path), b"picture"):
        server = Scripted([refused(422, "invalid_value")])
        with pytest.raises(Problem):
            run(server, lambda client, image=image: client.probe(image, eps="8/255", steps=3, bundle="to y"))
        (request,) = server.requests
        assert (request.method, request.url.path, request.content) == ("POST", "/robustness-probe", b"picture")
        assert dict(request.url.params) == {"eps": "8/255", "steps": "3", "bundle": "to y"}
        assert request.headers["content-type"] == "application/octet-stream"


def test_a_pil_image_is_sent_as_png() -> None:
    server = Scripted([refused(422, "invalid_value")])
    picture = Image.new("RGB", (2, 3), "red")
    with pytest.raises(Problem):
        RUNS[0](server, lambda client: client.predict(picture))
    sent = Image.open(io.BytesIO(server.requests[0].content))
    assert (sent.format, sent.size, sent.getpixel((0, 0))) == ("PNG", (2, 3), (255, 0, 0))


def test_what_is_no_image_is_not_sent(tmp_path: Path) -> None:
    server = Scripted([])
    with pytest.raises(FileNotFoundError):
        RUNS[0](server, lambda client: client.predict(tmp_path / "none.png"))
    with pytest.raises(TypeError, match="image: expected a path, bytes or a PIL image, got int"):
        RUNS[0](server, lambda client: client.predict(7))  # type: ignore[arg-type]
    assert server.requests == []


@run_with_both
def test_headers_and_an_address_with_a_path_are_kept(run: Run) -> None:
    server = Scripted([ok(BUNDLES)])
    run(server, ask_bundles, headers={"Authorization": "Bearer key"})
    assert server.requests[0].headers["authorization"] == "Bearer key"
    assert server.requests[0].headers["user-agent"].startswith("empir-client/")
    with Client(
        "http://host/under/", transport=httpx.MockTransport(lambda r: ok({**BUNDLES, "default": r.url.path}))
    ) as c:
        assert c.bundles().default == "/under/bundles"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url: expected http://HOST:PORT"):
        Client(url)


@run_with_both
def test_what_may_go_better_is_tried_again_after_a_wait_that_doubles(run: Run) -> None:
    lost = httpx.ConnectError("refused")
    server = Scripted([lost, httpx.RemoteProtocolError("gone"), refused(503, "unavailable"), ok(BUNDLES)])
    assert run(server, ask_bundles, retries=PATIENT).default == "toy"
    assert server.waits == [1, 2, 4]
    assert len({(request.method, request.url) for request in server.requests}) == 1


@run_with_both
def test_retry_after_is_honoured(run: Run) -> None:
    server = Scripted([refused(429, "queue_full", Retry_After="7"), ok(BUNDLES)])
    run(server, ask_bundles, retries=PATIENT)
    assert server.waits == [7 + 1]


@run_with_both
def test_the_last_refusal_is_raised_when_the_tries_are_used_up(run: Run) -> None:
    server = Scripted([refused(429, "queue_full", Retry_After="1") for _ in range(4)])
    with pytest.raises(QueueFull) as caught:
        run(server, ask_bundles, retries=PATIENT)
    assert len(server.requests) == 4
    error = caught.value
    assert (error.status, error.code, error.detail, error.request_id) == (429, "queue_full", "why", "r1")
    assert error.retry_after_s == 1
    assert str(error) == "queue_full (429): why [request r1]"


@run_with_both
def test_a_wait_that_would_end_after_the_deadline_is_not_begun(run: Run) -> None:
    server = Scripted([refused(503, "unavailable", Retry_After="70"), ok(BUNDLES)])
    with pytest.raises(Unavailable):
        run(server, ask_bundles, retries=PATIENT)
    assert (server.waits, len(server.requests)) == ([], 1)


@run_with_both
def test_each_try_gets_the_time_that_is_left(run: Run) -> None:
    server = Scripted([httpx.ConnectError("refused"), httpx.ReadTimeout("slow")], slow_s=10)
    with pytest.raises(ClientTimeout, match="GET /bundles: expected an answer within 60 s, got none") as caught:
        run(server, ask_bundles, retries=PATIENT)
    assert [request.extensions["timeout"]["read"] for request in server.requests] == [60, 60 - 10 - 1]
    assert isinstance(caught.value, TimeoutError)


@run_with_both
def test_a_server_that_is_not_there_is_a_connection_error(run: Run) -> None:
    server = Scripted([httpx.ConnectError("[Errno 111] Connection refused")] * 4)
    with pytest.raises(ConnectionFailed, match=r"GET /bundles: \[Errno 111\] Connection refused") as caught:
        run(server, ask_bundles, retries=PATIENT)
    assert isinstance(caught.value, ConnectionError)


@run_with_both
@pytest.mark.parametrize(("code", "status"), [each for each in STATUS.items() if each[1] != 429], ids=str)
def test_every_code_of_the_server_is_a_problem_with_it(run: Run, code: str, status: int) -> None:
    server = Scripted([refused(status, code)])
    with pytest.raises(Problem) as caught:
        run(server, ask_bundles, retries=Retries(attempts=1))
    assert (caught.value.code, caught.value.status, server.waits) == (code, status, [])
    assert type(caught.value) is Problem.codes.get(code, Problem)


def test_every_class_is_for_a_code_that_the_server_has() -> None:
    assert Problem.codes.keys() <= STATUS.keys()
    assert issubclass(Problem.codes["no_quorum"], NoQuorum)


@run_with_both
def test_what_something_else_answered_is_a_problem_without_a_code(run: Run) -> None:
    server = Scripted([httpx.Response(502, content=b"<h1>Bad\n Gateway</h1>")])
    with pytest.raises(Problem) as caught:
        run(server, ask_bundles, retries=PATIENT)
    assert (caught.value.status, caught.value.code, caught.value.detail) == (502, "unknown", "<h1>Bad Gateway</h1>")


@run_with_both
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"default": 3, "bundles": []}', b'{"default": "toy"}'], ids=str)
def test_an_answer_that_is_not_the_servers_is_said_so(run: Run, body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        run(Scripted([httpx.Response(200, content=body)]), ask_bundles)


@run_with_both
def test_ready_is_asked_once_and_never_raises(run: Run) -> None:
    for step, ready in ((ok({"status": "ready"}), True), (refused(503, "unavailable"), False)):
        assert run(Scripted([step]), lambda client: client.ready()) is ready
    assert run(Scripted([httpx.ConnectError("refused")]), lambda client: client.ready()) is False


def test_problems_survive_being_sent_to_another_process() -> None:
    error = QueueFull(429, "queue_full", "why", "r1", 1.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, copy.__dict__) == (QueueFull, error.args, error.__dict__)
    assert isinstance(copy, ClientError)
