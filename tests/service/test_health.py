"""What the server says of itself."""

from service.catalog import Catalog
from service.settings import Settings
from tests.live import Live, Start, live, problem_of
from tests.programs import package
from tests.toy_bundle import LABELS, ToyBundle
from tests.toy_catalog import YES, full, low, toy_catalog


def test_it_lives_and_is_ready(server: Live) -> None:
    assert server.http.get("/health/live").json() == {"status": "live"}
    assert server.http.get("/health/ready").json() == {"status": "ready"}


def test_while_it_drains_it_lives_and_is_not_ready(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)))
    server.state.ready = False
    response = server.http.get("/health/ready")
    assert (response.status_code, problem_of(response)["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert server.http.get("/health/live").status_code == 200


def test_bundles_are_listed_with_what_a_client_needs(server: Live) -> None:
    document = server.http.get("/bundles").json()
    assert document.keys() == {"default", "bundles"}
    assert document["default"] == "toy"
    (bundle,) = document["bundles"]
    assert {"name", "version", "labels", "input", "members", "vote", "report"} <= bundle.keys()
    assert (bundle["name"], bundle["version"], bundle["labels"]) == ("toy", "1", list(LABELS))
    assert (bundle["input"]["channels"], bundle["input"]["height"], bundle["input"]["width"]) == (1, 8, 8)
    assert [member["name"] for member in bundle["members"]] == ["w2a4-a", "w2a4-b", "fp32"]
    assert bundle["members"][0]["precision"] == {"weights": 2, "activations": 4}
    assert bundle["vote"] == {"rule": "majority", "tie_breaker": "fp32"}


def test_bundles_say_what_runs_their_members_and_how(toy: ToyBundle) -> None:
    package("openvino")
    settings = Settings(bundles=toy.folder.parent, default="toy", engine="auto", concurrency="members")
    with live(settings, Catalog.load(settings)) as server:
        (bundle,) = server.http.get("/bundles").json()["bundles"]
        ensemble = server.state.catalog.get("toy").ensemble
    shown = [(member["engine"], member["reason"]) for member in bundle["members"]]
    assert shown == [(engine.name, engine.reason) for engine in ensemble.engines]
    assert shown[2][0] in {"onnxruntime", "openvino"} and shown[2][1].startswith("ms an image: onnxruntime ")
    timing = ensemble.timing
    assert timing is not None and bundle["concurrency"] == {
        "setting": "members",
        "chosen": "members",
        "in_turn_ms": 1000 * timing.in_turn,
        "side_by_side_ms": 1000 * timing.side_by_side,
        "cores": timing.cores,
    }


def test_members_without_a_choice_of_engine_need_no_reason(server: Live) -> None:
    (bundle,) = server.http.get("/bundles").json()["bundles"]
    assert {(member["engine"], member["reason"]) for member in bundle["members"]} == {("onnxruntime", None)}
    timing = server.state.catalog.get("toy").ensemble.timing
    assert timing is not None and bundle["concurrency"]["setting"] == "auto"
    assert bundle["concurrency"]["chosen"] == timing.chosen


def test_metrics_are_prometheus_text(server: Live) -> None:
    response = server.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert (
        '\nempir_bundle_info{bundle="toy",members="w2a4-a:w2a4,w2a4-b:w2a4,fp32:fp32",version="1"} 1.0\n'
        in response.text
    )
    assert "\nprocess_resident_memory_bytes " in response.text
