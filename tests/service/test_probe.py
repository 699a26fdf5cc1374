"""`POST /robustness-probe`: the report, and a server that goes on while and whatever happens to the probe process."""

import base64
import json
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from runtime.bundle import MANIFEST
from runtime.member import Images
from service.probe_process import Job
from service.server import drain
from tests.live import HANG_S, Live, Start, problem_of
from tests.probe_jobs import Announced, exists, stopped
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import DOT, bundle_catalog

FIELDS = [
    *("outcome", "confirmed_on_served", "threat_model", "attack", "clean", "adversarial", "perturbation"),
    *("smallest_eps", "queries", "gradient_calls", "time_ms", "members", "warnings", "images"),
]
HYPERPARAMETERS = {
    *("name", "norm", "eps", "steps", "step_size", "restarts", "random_start", "label", "target", "seed", "budget_ms"),
    "losses",
}
MEMBER = {
    *("name", "precision", "label_before", "label_after", "flipped", "margin_before", "margin_after", "gradient_norm"),
}
VIEW = {"label", "class_index", "confidence", "agreement", "suspicious"}


def probed(response: httpx.Response) -> dict[str, Any]:
    """The report in an answer."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    report: dict[str, Any] = response.json()
    return report


def test_a_broken_verdict_is_reported_with_every_field(server: Live, picture: bytes) -> None:
    clean = server.predict(picture).json()
    report = probed(server.probe(picture, eps="1/2", seed="3", norm="linf", attack="pgd", budget_ms="20000"))
    assert list(report) == FIELDS
    assert (report["outcome"], report["confirmed_on_served"]) == ("broken", True)
    assert report["attack"].keys() >= HYPERPARAMETERS
    assert (report["attack"]["eps"], report["attack"]["seed"], report["attack"]["steps"]) == (0.5, 3, 40)
    assert report["clean"].keys() == report["adversarial"].keys() == VIEW
    assert report["clean"] == {key: clean[key] for key in VIEW}
    assert report["adversarial"]["label"] != clean["label"]
    assert report["perturbation"].keys() == {"l0", "l2", "linf"}
    assert 0 < report["smallest_eps"] <= report["perturbation"]["linf"] <= 0.5 + 1e-6
    assert report["queries"] > 0 and report["gradient_calls"] > 0 and report["time_ms"] > 0
    assert [member["name"] for member in report["members"]] == [member["name"] for member in clean["members"]]
    for member in report["members"]:
        assert member.keys() == MEMBER
        assert member["flipped"] == (member["label_before"] != member["label_after"])
    assert report["images"].keys() == {"original", "adversarial", "perturbation"}


def test_the_adversarial_picture_does_it_to_the_server_too(server: Live, picture: bytes) -> None:
    report = probed(server.probe(picture, eps="0.5"))
    assert not [warning for warning in report["warnings"] if "8 bits" in warning]
    again = server.predict(base64.b64decode(report["images"]["adversarial"])).json()
    assert again["label"] == report["adversarial"]["label"] != report["clean"]["label"]


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ({"eps": "0.0001", "steps": "2"}, "not_broken_within_budget"),
        ({"label": "1"}, "wrong_before_attack"),
        ({"attack": "fgsm", "norm": "l2", "eps": "6"}, "broken"),
        ({"eps": "0.5", "target": "2"}, "broken"),
    ],
    ids=["not broken", "wrong before", "fgsm", "targeted"],
)
def test_outcomes_are_counted(server: Live, picture: bytes, query: dict[str, str], outcome: str) -> None:
    name = query.get("attack", "pgd")
    before = server.metric("empir_probe_total", attack=name, outcome=outcome)
    timed = server.metric("empir_probe_duration_seconds_count", attack=name)
    response = server.probe(picture, **query)
    report = probed(response)
    assert report["outcome"] == outcome
    if outcome != "broken":
        assert (report["adversarial"], report["perturbation"], report["smallest_eps"]) == (None, None, None)
        assert not report["confirmed_on_served"]
    if "target" in query:
        assert report["adversarial"]["class_index"] == int(query["target"])
    assert server.metric("empir_probe_total", attack=name, outcome=outcome) == before + 1
    assert server.metric("empir_probe_duration_seconds_count", attack=name) == timed + 1
    line = server.logged(response.headers["x-request-id"])[0]
    assert (line["bundle"], line["attack"], line["outcome"]) == ("toy", name, outcome)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as a probe is on its way to the probe process."""
    event = threading.Event()
    monkeypatch.setattr(
        "service.probe.Job",
        lambda folder, version, image, parameters, generation: Announced(
            folder, version, image, parameters, event, generation=generation
        ),
    )
    return event


@pytest.fixture
def warm(server: Live, picture: bytes) -> Live:
    """The server, its probe process running."""
    probed(server.probe(picture, steps="1"))
    return server


def test_predictions_do_not_wait_for_a_probe(warm: Live, picture: bytes, sent: threading.Event) -> None:
    with ThreadPoolExecutor(1) as caller:
        with stopped(warm.state.probes):
            probe = caller.submit(warm.probe, picture, steps="1")
            assert sent.wait(HANG_S)
            assert [warm.predict(picture).status_code for _ in range(3)] == [200, 200, 200]
            assert not probe.done()
        probed(probe.result())


def test_a_full_probe_queue_is_429_and_every_caller_gets_the_own_answer(warm: Live, picture: bytes) -> None:
    places = warm.state.settings.probe_queue
    before = warm.metric("empir_requests_rejected_total", reason="queue_full")
    with ThreadPoolExecutor(places + 2) as callers:
        with stopped(warm.state.probes):
            sizes = {
                callers.submit(warm.probe, picture, eps=f"{index}/100", steps="1"): index / 100
                for index in range(1, places + 3)
            }
            refused = wait(sizes, HANG_S, FIRST_COMPLETED).done
            assert [each.result().status_code for each in refused] == [429]
        refusal = refused.pop()
        assert problem_of(refusal.result())["code"] == "queue_full"
        assert refusal.result().headers["retry-after"] == "1"
        for each, eps in sizes.items():
            if each is not refusal:
                assert probed(each.result())["attack"]["eps"] == eps
    assert warm.metric("empir_requests_rejected_total", reason="queue_full") == before + 1


def test_a_killed_probe_process_is_503_and_the_next_probe_works(
    warm: Live, picture: bytes, sent: threading.Event
) -> None:
    with ThreadPoolExecutor(1) as caller, stopped(warm.state.probes) as pid:
        probe = caller.submit(warm.probe, picture)
        assert sent.wait(HANG_S)
        os.kill(pid, signal.SIGKILL)
        response = probe.result()
        assert (response.status_code, problem_of(response)["code"]) == (503, "unavailable")
        assert "try again" in problem_of(response)["detail"]
        assert response.headers["retry-after"] == "1"
    probed(warm.probe(picture, steps="1"))
    assert warm.state.probes.pid not in (None, pid)


def test_a_probe_ends_with_its_client(
    warm: Live, picture: bytes, sent: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.probe.LEFT_CHECK_S", 0.01)
    head = f"POST /robustness-probe HTTP/1.1\r\nHost: a\r\nX-Request-ID: gone\r\nContent-Length: {len(picture)}\r\n\r\n"
    with stopped(warm.state.probes) as pid:
        with warm.connect() as connection:
            connection.sendall(head.encode() + picture)
            assert sent.wait(HANG_S)
        line = next(filter(None, (warm.logged("gone") for _ in range(10_000))))
        assert [each["status"] for each in line] == [499]
        warm.settle()
        assert not exists(pid)
    probed(warm.probe(picture, steps="1"))


def test_a_server_that_is_told_to_end_answers_a_probe_under_way(
    start: Start, toy: ToyBundle, picture: bytes, sent: threading.Event
) -> None:
    server = start(bundle_catalog(toy.folder))
    probed(server.probe(picture, steps="1"))
    sent.clear()
    with ThreadPoolExecutor(1) as caller, stopped(server.state.probes):
        probe = caller.submit(server.probe, picture)
        assert sent.wait(HANG_S)
        drain(server.app)
        assert (probe.result().status_code, problem_of(probe.result())["code"]) == (503, "unavailable")
    assert server.http.get("/health/ready").status_code == 503
    assert server.probe(picture).status_code == 503
    assert server.predict(picture).status_code == 200


def test_a_fault_of_the_probe_is_500_and_its_cause_is_in_the_log_alone(
    warm: Live, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "service.probe.Job",
        lambda folder, version, image, parameters, **rest: Job(folder, version, cast(Images, None), parameters, **rest),
    )
    response = warm.probe(picture)
    assert (response.status_code, problem_of(response)["code"]) == (500, "internal")
    assert "Traceback" not in response.text
    failed, request = warm.logged(response.headers["x-request-id"])
    assert (failed["event"], request["status"]) == ("failed", 500)
    assert "in serve_probes" in failed["exception"]


def test_a_bundle_without_gradient_graphs_is_served_and_attacked_by_queries_alone(
    start: Start, toy_copy: Path, picture: bytes
) -> None:
    manifest = json.loads((toy_copy / MANIFEST).read_text())
    del manifest["members"][1]["gradient_file"], manifest["members"][1]["gradient_sha256"]
    (toy_copy / MANIFEST).write_text(json.dumps(manifest))
    server = start(bundle_catalog(toy_copy))
    assert server.predict(DOT).status_code == 200
    response = server.probe(picture, attack="pgd")
    assert (response.status_code, problem_of(response)["code"]) == (422, "invalid_value")
    assert (
        "pgd needs a gradient graph of every member, and w2a4-b has none; expected one that only asks: "
        in (problem_of(response)["detail"])
    )
    assert not probed(server.probe(picture, attack="square", eps="1/2"))["warnings"][0].startswith(
        "no attack was named"
    )
    report = probed(server.probe(picture, eps="1/2"))
    assert report["warnings"][0] == "no attack was named: square was taken, because pgd needs gradient graphs"
    assert report["attack"]["name"] == "square"
    assert (report["outcome"], report["confirmed_on_served"], report["gradient_calls"]) == ("broken", True, 0)
    assert report["threat_model"].startswith("black-box") and "w2a4-b has no gradient graph" in report["warnings"][-1]
    assert [member["gradient_norm"] is None for member in report["members"]] == [False, True, False]
