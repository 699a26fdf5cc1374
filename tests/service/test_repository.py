"""The repository: bundles come, change and go while the server answers."""

import gc
import json
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.images import encode_png
from service.catalog import Served
from tests.live import HANG_S, Live, Start
from tests.service.oip.bodies import ask, document, protocol_problem
from tests.toy_bundle import ToyBundle, flip_a_bit, neighbour, rewrite
from tests.toy_catalog import DOT, YES, Gate, bundle_catalog, full, toy_catalog
from tests.toys import W2A4

KEY = "open sesame"
ADMIN = {"X-Admin-Key": KEY}


@pytest.fixture
def server(start: Start, toy_copy: Path) -> Live:
    """A server with an admin key, over a copy of the toy bundle that may be changed."""
    return start(bundle_catalog(toy_copy), bundles=toy_copy.parent, admin_key=KEY)


def act(server: Live, action: str, name: str = "toy", **headers: str) -> Any:
    return server.http.post(f"/v2/repository/models/{name}/{action}", headers=headers or ADMIN)


def index(server: Live) -> dict[str, dict[str, str]]:
    return {entry["name"]: entry for entry in server.http.post("/v2/repository/index").json()}


def test_a_bundle_is_loaded_served_and_unloaded(server: Live, toy: ToyBundle, toy_copy: Path) -> None:
    neighbour(toy_copy, "other")
    assert index(server)["other"] == {"name": "other", "version": "", "state": "UNAVAILABLE", "reason": "not loaded"}
    assert server.http.get("/v2/models/other").status_code == 404
    assert act(server, "load", "other").json() == {}
    assert index(server)["other"] == {"name": "other", "version": "1", "state": "READY", "reason": ""}
    assert ask(server, document(toy.images[:1]), "/v2/models/other/infer").status_code == 200
    assert server.predict(encode_png(toy.images[0]), bundle="other").status_code == 200
    assert "other" in [bundle["name"] for bundle in server.http.get("/bundles").json()["bundles"]]
    members = "w2a4-a:w2a4,w2a4-b:w2a4,fp32:fp32"
    assert server.metric("empir_bundle_info", bundle="other", version="1", members=members) == 1
    assert act(server, "unload", "other").status_code == 200
    assert server.http.get("/v2/models/other").status_code == 404
    assert index(server)["other"]["reason"] == "unloaded"
    assert server.metric("empir_bundle_info", bundle="other", version="1", members=members) == 0
    assert server.metric("empir_bundle_reloads_total", outcome="loaded") == 1
    assert server.metric("empir_bundle_reloads_total", outcome="unloaded") == 1


def test_a_changed_bundle_becomes_the_next_version(server: Live, toy: ToyBundle, toy_copy: Path) -> None:
    assert act(server, "load").status_code == 200
    assert server.http.get("/v2/models/toy/versions/1").status_code == 200  # it had not changed
    rewrite(toy_copy, version="changed", labels=["a", "b", "c", "d"])
    assert act(server, "load").status_code == 200
    answer = ask(server, document(toy.images[:1])).json()
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("2", ["abcd"[toy.classes[0]]])
    assert server.http.get("/v2/models/toy/versions/1").status_code == 404
    assert server.predict(encode_png(toy.images[0])).json()["bundle"]["version"] == "changed"
    members = "w2a4-a:w2a4,w2a4-b:w2a4,fp32:fp32"
    assert server.metric("empir_bundle_info", bundle="toy", version="1", members=members) == 0
    assert server.metric("empir_bundle_info", bundle="toy", version="changed", members=members) == 1


def test_a_bundle_that_is_wrong_leaves_the_old_one_serving(server: Live, toy: ToyBundle, toy_copy: Path) -> None:
    graph = toy_copy / "fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    response = act(server, "load")
    problem = protocol_problem(response)
    assert (response.status_code, problem["code"]) == (422, "bundle_refused")
    assert problem["error"].startswith("toy/fp32.onnx: corrupt or altered")
    assert ask(server, document(toy.images[:1])).status_code == 200
    entry = index(server)["toy"]
    assert (entry["state"], entry["version"]) == ("READY", "1")
    assert entry["reason"].startswith("toy/fp32.onnx: corrupt or altered")
    assert server.metric("empir_bundle_reloads_total", outcome="failed") == 1


def test_a_damaged_bundle_is_left_out_said_aloud_and_loaded_once_it_is_whole(
    start: Start, toy: ToyBundle, toy_copy: Path
) -> None:
    graph = neighbour(toy_copy, "other") / "fp32.onnx"
    flip_a_bit(graph)
    server = start(bundle_catalog(toy_copy), bundles=toy_copy.parent, admin_key=KEY)
    (line,) = [json.loads(line) for line in server.lines.getvalue().splitlines() if "bundle is not served" in line]
    assert (line["level"], line["bundle"]) == ("error", "other")
    assert line["reason"].startswith(f"{graph}: corrupt or altered")
    assert [bundle["name"] for bundle in server.http.get("/bundles").json()["bundles"]] == ["toy"]
    assert server.http.get("/health/ready").status_code == 200
    entry = index(server)["other"]
    assert (entry["state"], entry["reason"][:37]) == ("UNAVAILABLE", "other/fp32.onnx: corrupt or altered: ")
    assert server.predict(encode_png(toy.images[0]), bundle="other").status_code == 404
    assert act(server, "load", "other").status_code == 422
    flip_a_bit(graph)  # back
    assert act(server, "load", "other").status_code == 200
    assert index(server)["other"]["reason"] == ""


@pytest.mark.parametrize("name", ["nothing", "toy:fp32", "%2E%2E", "..%2Ftoy", ".hidden", "TOY", "toy%0A"])
def test_what_is_not_in_the_folder_is_404(server: Live, toy_copy: Path, name: str) -> None:
    neighbour(toy_copy, ".hidden")
    for action in ("load", "unload"):
        response = act(server, action, name)
        assert response.status_code == 404, name
        assert protocol_problem(response)["code"] in ("unknown_model", "not_found")


def test_the_default_bundle_is_not_unloaded(server: Live) -> None:
    response = act(server, "unload")
    assert (response.status_code, protocol_problem(response)["code"]) == (409, "conflict")
    assert server.http.get("/v2/models/toy/ready").status_code == 200


@pytest.mark.parametrize("action", ["load", "unload"])
def test_the_key_is_asked_for(server: Live, action: str) -> None:
    path = f"/v2/repository/models/toy/{action}"
    missing = server.http.post(path)
    assert (missing.status_code, protocol_problem(missing)["code"]) == (401, "key_missing")
    assert missing.headers["www-authenticate"] == "Bearer"
    for headers in ({"X-Admin-Key": "x"}, {"Authorization": f"Bearer {KEY}x"}, {"X-Admin-Key": "clé".encode()}):
        wrong = server.http.post(path, headers=headers)  # type: ignore[arg-type]
        assert (wrong.status_code, protocol_problem(wrong)["code"]) == (403, "key_refused")
    assert server.http.post(path, headers={"Authorization": f"Basic {KEY}"}).status_code == 401
    assert KEY not in server.lines.getvalue()


def test_the_key_is_taken_as_bearer_too(server: Live) -> None:
    assert act(server, "load", Authorization=f"Bearer {KEY}").status_code == 200


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_of_its_own_the_server_lets_nobody(start: Start, toy: ToyBundle, key: str | None) -> None:
    server = start(bundle_catalog(toy.folder), bundles=toy.folder.parent, admin_key=key)
    response = act(server, "load", **{"X-Admin-Key": ""})
    assert response.status_code == 403
    assert "EMPIR_ADMIN_KEY" in protocol_problem(response)["error"]


def test_an_override_of_the_bundle_is_refused(server: Live) -> None:
    path = "/v2/repository/models/toy/load"
    response = server.http.post(path, headers=ADMIN, json={"parameters": {"config": "{}"}})
    assert response.status_code == 400
    assert protocol_problem(response)["error"].startswith("parameters: expected none")
    assert server.http.post(path, headers=ADMIN, content=b'{"a": 1, "a": 2}').status_code == 400


def test_the_index_may_leave_out_what_is_not_loaded(server: Live, toy_copy: Path) -> None:
    neighbour(toy_copy, "other")
    everything = server.http.get("/v2/repository/index").json()
    assert [entry["name"] for entry in everything] == ["toy", "other"]
    assert server.http.post("/v2/repository/index", json={"ready": True}).json() == everything[:1]
    assert server.http.post("/v2/repository/index", json={"ready": 1}).status_code == 400


def test_a_request_under_way_finishes_on_the_bundle_that_it_began_with(
    start: Start, toy: ToyBundle, toy_copy: Path
) -> None:
    gate = Gate("c", W2A4, YES)
    catalog = toy_catalog(gate, full(YES, "d"))
    server = start(catalog, bundles=toy_copy.parent, admin_key=KEY)
    old: Callable[[], Served | None] = weakref.ref(catalog.get("toy"))
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(server.predict, DOT)
        assert gate.entered.wait(HANG_S)
        assert act(server, "load").status_code == 200
        assert ask(server, document(toy.images[:1])).status_code == 200
        gate.opened.set()
        answer = under_way.result().json()
    assert answer["label"] == "yes"
    server.settle()
    gc.collect()
    assert old() is None


def test_after_a_reload_a_probe_attacks_the_new_bundle(server: Live, toy: ToyBundle, toy_copy: Path) -> None:
    picture = encode_png(toy.images[0])
    first = server.probe(picture, steps="1").json()
    rewrite(toy_copy, version="changed", labels=["a", "b", "c", "d"])
    refused = server.probe(picture, steps="1")
    assert refused.status_code == 200  # the old one is still served, and held
    assert act(server, "load").status_code == 200
    second = server.probe(picture, steps="1").json()
    assert (first["clean"]["label"], second["clean"]["label"]) == ("north-west", "a")
