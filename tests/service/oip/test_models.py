"""What the protocol says of the server and its models, to Triton's client and to anybody."""

from typing import Any

import pytest

from tests.live import Live, Start
from tests.service.oip.bodies import INFER, ask, document, protocol_problem
from tests.toy_bundle import LABELS, ToyBundle
from tests.toy_catalog import YES, full, low, toy_catalog

M, K = 3, len(LABELS)
OUTPUTS = {
    "label": ("BYTES", [1]),
    "class_index": ("INT64", [1]),
    "confidence": ("FP32", [1]),
    "agreement": ("FP32", [1]),
    "member_probs": ("FP32", [M, K]),
    "member_status": ("BYTES", [M]),
}
MEMBER_OUTPUTS = {**{name: OUTPUTS[name] for name in ("label", "class_index", "confidence")}, "probs": ("FP32", [K])}
CONFIG_TYPES = {"BYTES": "TYPE_STRING", "INT64": "TYPE_INT64", "FP32": "TYPE_FP32"}


def test_the_server_describes_itself(rest: Any) -> None:
    metadata = rest.get_server_metadata()
    assert metadata["name"] == "empir-serve" and metadata["version"]
    assert {"binary_tensor_data", "model_repository", "parameters", "statistics"} <= set(metadata["extensions"])
    assert rest.is_server_live() and rest.is_server_ready()


def test_readiness_is_said_as_kserve_says_it(both: Live) -> None:
    assert both.http.get("/v2/health/live").json() == {"live": True}
    assert both.http.get("/v2/health/ready").json() == {"ready": True}


def test_while_it_drains_nothing_is_ready(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)))
    server.state.ready = False
    for path in ("/v2/health/ready", "/v2/models/toy/ready"):
        response = server.http.get(path)
        assert (response.status_code, protocol_problem(response)["code"]) == (503, "unavailable")
    assert server.http.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize(
    ("name", "outputs"), [("toy", OUTPUTS), ("toy:fp32", MEMBER_OUTPUTS), ("toy:w2a4-a", MEMBER_OUTPUTS)]
)
def test_a_model_describes_itself(rest: Any, name: str, outputs: dict[str, Any], version: str) -> None:
    assert rest.is_model_ready(name, version)
    metadata = rest.get_model_metadata(name, version)
    assert (metadata["name"], metadata["versions"]) == (name, ["1"])
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert {each["name"]: (each["datatype"], each["shape"][1:]) for each in metadata["outputs"]} == outputs
    assert all(each["shape"][0] == -1 for each in metadata["outputs"])
    config = rest.get_model_config(name, version)
    assert (config["name"], config["max_batch_size"]) == (name, 32)
    assert [(each["name"], each["data_type"], each["dims"]) for each in config["input"]] == [
        ("image", "TYPE_FP32", [1, 8, 8])
    ]
    assert {each["name"]: (each["data_type"], each["dims"]) for each in config["output"]} == {
        output: (CONFIG_TYPES[datatype], dims) for output, (datatype, dims) in outputs.items()
    }


def test_a_colon_may_be_escaped(both: Live) -> None:
    assert both.http.get("/v2/models/toy%3Afp32/versions/1").json()["name"] == "toy:fp32"


@pytest.mark.parametrize("path", ["", "/ready", "/config", "/stats", "/infer"])
@pytest.mark.parametrize("model", ["no", "toy:no", "toy:", ":fp32", "toy/versions/2", "toy/versions/x", "toy%2Fx"])
def test_an_unknown_model_or_version_is_404(both: Live, model: str, path: str) -> None:
    response = both.http.request("POST" if path == "/infer" else "GET", f"/v2/models/{model}{path}")
    assert response.status_code == 404
    assert protocol_problem(response)["code"] in ("unknown_model", "not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v2/nothing"), ("GET", INFER), ("DELETE", "/v2")])
def test_other_errors_under_v2_have_the_protocols_form_too(both: Live, method: str, path: str) -> None:
    assert protocol_problem(both.http.request(method, path))["status"] in (404, 405)


def test_a_body_over_the_limit_is_refused_in_the_protocols_form(both: Live) -> None:
    response = both.http.post(INFER, content=bytes(10_000_001))
    assert (response.status_code, protocol_problem(response)["code"]) == (413, "body_too_large")


def test_a_batch_over_the_limit_is_refused(both: Live, toy: ToyBundle) -> None:
    images = toy.images[[0] * 33]
    assert ask(both, document(images[:32])).status_code == 200
    response = ask(both, document(images))
    assert response.status_code == 400
    assert "of 1 to 32 images, got [33, 1, 8, 8]" in protocol_problem(response)["error"]


def test_a_compressed_body_is_refused(both: Live) -> None:
    response = both.http.post(INFER, content=b"x", headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
    assert protocol_problem(response)["code"] == "encoded_body"
    assert protocol_problem(response)["error"].startswith("Content-Encoding: expected none, got 'gzip'")


def counted(rest: Any, model: str) -> tuple[int, int, int]:
    """Images, successes and failures."""
    (statistics,) = rest.get_inference_statistics(model)["model_stats"]
    tallies = statistics["inference_stats"]
    return statistics["inference_count"], tallies["success"]["count"], tallies["fail"]["count"]


def test_what_a_model_has_done_is_counted(both: Live, rest: Any, toy: ToyBundle) -> None:
    before, of_member = counted(rest, "toy"), counted(rest, "toy:fp32")
    assert ask(both, document(toy.images[:17])).status_code == 200
    assert ask(both, document(toy.images[:17], name="x")).status_code == 400
    assert [a - b for a, b in zip(counted(rest, "toy"), before, strict=True)] == [17, 1, 1]
    assert counted(rest, "toy:fp32") == of_member
    (statistics,) = rest.get_inference_statistics("toy", "1")["model_stats"]
    tallies = statistics["inference_stats"]
    assert {"success", "fail", "queue", "compute_input", "compute_infer", "compute_output"} <= tallies.keys()
    assert tallies["compute_infer"]["ns"] < tallies["success"]["ns"]
    (batch,) = [each for each in statistics["batch_stats"] if each["batch_size"] == 17]
    assert batch["compute_infer"]["count"] == 1 and batch["compute_infer"]["ns"] > 0
    names = [each["name"] for each in rest.get_inference_statistics()["model_stats"]]
    assert names == ["toy", "toy:w2a4-a", "toy:w2a4-b", "toy:fp32"]
