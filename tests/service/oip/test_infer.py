"""Inference over REST, with Triton's client and by hand: what is answered is what the runtime says."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest
import tritonclient.http as triton

from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.images import encode_png
from runtime.prediction import Prediction
from tests.live import Live, Start
from tests.service.oip.bodies import INFER, ask, binary, document, elements, fp32, protocol_problem
from tests.toy_bundle import LABELS, ToyBundle
from tests.toy_catalog import NO, YES, full, low, toy_catalog
from tests.toys import Array

OUTPUTS = ["label", "class_index", "confidence", "agreement", "member_probs", "member_status"]


@pytest.fixture(scope="module")
def levels(toy: ToyBundle) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The toy's images as whole numbers."""
    return np.rint(toy.images * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(toy: ToyBundle, levels: np.ndarray[Any, np.dtype[np.uint8]]) -> Prediction:
    """What the runtime says of them."""
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    prediction = ensemble.predict(levels.astype(np.float32) / np.float32(255))
    ensemble.close()
    return prediction


def tensor(images: np.ndarray[Any, Any], datatype: str, as_bytes: bool = True) -> Any:
    value = triton.InferInput("image", list(images.shape), datatype)
    value.set_data_from_numpy(images, binary_data=as_bytes)
    return value


def check(result: Any, expected: Prediction) -> None:
    """A client's result, every output of it, against the runtime's prediction."""
    n = len(expected.verdict)
    labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("label").ravel()]
    assert labels == [LABELS[verdict] for verdict in expected.verdict]
    np.testing.assert_array_equal(result.as_numpy("class_index"), expected.verdict[:, None])
    for name in ("confidence", "agreement"):
        shares = [getattr(expected, name)(image) for image in range(n)]
        assert result.as_numpy(name).dtype == np.float32 and result.as_numpy(name).shape == (n, 1)
        np.testing.assert_allclose(result.as_numpy(name)[:, 0], shares, atol=1e-6)
    assert result.as_numpy("member_probs").shape == (n, 3, len(LABELS))
    np.testing.assert_allclose(result.as_numpy("member_probs"), expected.probs.transpose(1, 0, 2), atol=1e-6)
    statuses = result.as_numpy("member_status")
    assert statuses.shape == (n, 3)
    assert {each.decode() if isinstance(each, bytes) else each for each in statuses.ravel()} == {"ok"}


@pytest.mark.parametrize("answered_in_bytes", [True, False], ids=["binary out", "JSON out"])
@pytest.mark.parametrize("asked_in_bytes", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_tritons_client_gets_what_the_runtime_says(
    rest: Any,
    levels: np.ndarray[Any, np.dtype[np.uint8]],
    expected: Prediction,
    datatype: str,
    asked_in_bytes: bool,
    answered_in_bytes: bool,
) -> None:
    images = levels if datatype == "UINT8" else levels.astype(np.float32) / np.float32(255)
    outputs = [triton.InferRequestedOutput(name, binary_data=answered_in_bytes) for name in OUTPUTS]
    result = rest.infer("toy", [tensor(images, datatype, asked_in_bytes)], outputs=outputs, request_id="seven")
    check(result, expected)
    assert result.get_response()["id"] == "seven"
    assert result.get_response()["parameters"] == {"degraded": False}


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=["[N]", "[N, 1]"])
def test_encoded_pictures_are_decoded(rest: Any, toy: ToyBundle, expected: Prediction, shape: tuple[int, ...]) -> None:
    pictures = np.array([encode_png(image) for image in toy.images], dtype=np.object_).reshape(shape)
    check(rest.infer("toy", [tensor(pictures, "BYTES")]), expected)


def test_pictures_in_json_are_base64(both: Live, toy: ToyBundle, expected: Prediction) -> None:
    data = [base64.b64encode(encode_png(image)).decode() for image in toy.images[:3]]
    for shape, values in (([3], data), ([3, 1], [[each] for each in data]), ([3, 1], data)):
        request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": shape, "data": values}]}
        answer = ask(both, request).json()
        assert answer["outputs"][1]["data"] == expected.verdict[:3].tolist()


def test_nested_and_flat_data_are_the_same(both: Live, toy: ToyBundle) -> None:
    images = toy.images[:2]
    answers = [ask(both, document(images, data=data)).json() for data in (images.tolist(), images.ravel().tolist())]
    assert answers[0] == answers[1]
    assert [output["name"] for output in answers[0]["outputs"]] == OUTPUTS
    assert answers[0]["outputs"][4]["shape"] == [2, 3, 4]
    assert len(answers[0]["outputs"][4]["data"]) == 24
    assert "id" not in answers[0]


def test_only_the_outputs_that_are_asked_for_come_each_in_its_own_way(both: Live, toy: ToyBundle) -> None:
    wanted = [{"name": "class_index", "parameters": {"binary_data": True}}, {"name": "label"}]
    response = ask(both, {**document(toy.images[:1]), "outputs": wanted})
    length = int(response.headers["inference-header-content-length"])
    head, tail = orjson.loads(response.content[:length]), response.content[length:]
    assert [output["name"] for output in head["outputs"]] == ["class_index", "label"]
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 8} and "data" not in head["outputs"][0]
    assert head["outputs"][1]["data"] == [LABELS[toy.classes[0]]]
    assert int.from_bytes(tail, "little") == toy.classes[0]


def test_all_outputs_come_in_bytes_where_the_request_says_so(both: Live, toy: ToyBundle) -> None:
    body, headers = fp32(toy.images[:1], parameters={"binary_data_output": True})
    response = both.http.post(INFER, content=body, headers=headers)
    head = orjson.loads(response.content[: int(response.headers["inference-header-content-length"])])
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    assert sizes == [4 + len(LABELS[toy.classes[0]]), 8, 4, 4, 3 * 4 * 4, 3 * (4 + 2)]
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("name", ["toy:w2a4-a", "toy:w2a4-b", "toy:fp32"])
def test_each_member_is_a_model(rest: Any, expected: Prediction, levels: Any, name: str) -> None:
    member = ["w2a4-a", "w2a4-b", "fp32"].index(name.partition(":")[2])
    result = rest.infer(name, [tensor(levels, "UINT8")], model_version="1")
    np.testing.assert_array_equal(result.as_numpy("class_index")[:, 0], expected.votes[member])
    np.testing.assert_allclose(result.as_numpy("probs"), expected.probs[member], atol=1e-6)
    np.testing.assert_allclose(result.as_numpy("confidence")[:, 0], expected.probs[member].max(axis=1), atol=1e-6)
    assert {output["name"] for output in result.get_response()["outputs"]} == {
        *("label", "class_index", "confidence", "probs")
    }


def test_quorum_skips_and_says_so(rest: Any, levels: Any, expected: Prediction) -> None:
    result = rest.infer("toy", [tensor(levels, "UINT8")], parameters={"mode": "quorum"})
    np.testing.assert_array_equal(result.as_numpy("class_index")[:, 0], expected.verdict)
    statuses = result.as_numpy("member_status")
    skipped = statuses[:, 2] == b"skipped"
    assert skipped.sum() >= len(levels) / 2
    assert (result.as_numpy("member_probs")[skipped, 2] == 0).all()
    assert (result.as_numpy("member_probs")[~skipped, 2].sum(axis=1) > 0.99).all()


def test_any_alignment_of_the_tensor_in_the_body_gives_the_same_answer(both: Live, toy: ToyBundle) -> None:
    answers = []
    for pad in range(4):
        body, headers = fp32(toy.images[:5], id="x" * pad, outputs=[{"name": "member_probs"}])
        answers.append(both.http.post(INFER, content=body, headers=headers).json()["outputs"])
    assert all(answer == answers[0] for answer in answers)


def degraded_server(start: Start) -> Live:
    return start(toy_catalog(low(YES), low(YES, "b", failure="error"), full(YES)))


def one_pixel(value: float = 0.0) -> Array:
    return np.full((1, 1, 1, 1), value, np.float32)


def test_a_member_without_a_vote_makes_the_answer_degraded(start: Start) -> None:
    answer = ask(degraded_server(start), document(one_pixel())).json()
    assert answer["parameters"] == {"degraded": True}
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["member_status"] == ["ok", "error", "ok"]
    assert outputs["member_probs"][2:4] == [0, 0]


def test_a_member_that_fails_alone_is_503(start: Start) -> None:
    response = ask(degraded_server(start), document(one_pixel()), "/v2/models/toy:b/infer")
    assert response.status_code == 503
    assert protocol_problem(response)["error"] == "image 0: the member toy:b has no vote: error"


def test_a_row_without_a_quorum_fails_the_request(start: Start) -> None:
    server = start(toy_catalog(low(np.vstack([YES, YES])), low(np.vstack([YES, NO]), "b"), full(NO, failure="error")))
    assert ask(server, document(one_pixel())).status_code == 200
    response = ask(server, document(np.concatenate([one_pixel(), one_pixel(1)])))
    problem = protocol_problem(response)
    assert (response.status_code, problem["code"]) == (503, "no_quorum")
    assert problem["error"].startswith("image 1: no class has a majority")


def test_quorum_of_an_average_is_422(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(NO), rule="average"))
    response = ask(server, {**document(one_pixel()), "parameters": {"mode": "quorum"}})
    assert (response.status_code, protocol_problem(response)["code"]) == (422, "invalid_value")


def test_every_image_of_a_batch_is_counted(start: Start) -> None:
    logits = np.vstack([YES, NO])
    server = start(toy_catalog(low(logits), low(logits, "b"), full(np.vstack([YES, YES]))))
    assert ask(server, document(np.concatenate([one_pixel(), one_pixel(1)]))).status_code == 200
    assert server.metric("empir_predictions_total", bundle="toy", outcome="unanimous") == 1
    assert server.metric("empir_predictions_total", bundle="toy", outcome="majority") == 1
    assert server.metric("empir_batch_size_sum") == 2
    assert ask(server, document(one_pixel()), "/v2/models/toy:a/infer").status_code == 200
    name = "empir_member_inference_duration_seconds_count"
    assert server.metric(name, bundle="toy", member="a", precision="w2a4") == 2
    assert server.metric(name, bundle="toy", member="b", precision="w2a4") == 1
    assert server.metric("empir_predictions_total", bundle="toy", outcome="unanimous") == 1


def test_pictures_among_others_that_are_none_are_named(both: Live, toy: ToyBundle) -> None:
    raw = elements(encode_png(toy.images[0]), b"hello")
    entry = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    body, headers = binary({"inputs": [entry]}, raw)
    response = both.http.post(INFER, content=body, headers=headers)
    assert response.status_code == 400
    assert protocol_problem(response)["error"].startswith("inputs[0], element 1: image: expected PNG, JPEG")


def test_nothing_of_one_request_is_in_the_answer_to_another(
    both: Live, toy: ToyBundle, expected: Prediction, levels: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    """Requests that come together are predicted together: each of another size, id and selection of images."""
    pixels = levels.astype(np.float32) / np.float32(255)

    def one(number: int) -> None:
        rows = [(7 * number + step) % len(pixels) for step in range(1 + number % 5)]
        body, headers = fp32(pixels[rows], id=f"request {number}", outputs=[{"name": "member_probs"}])
        answer = both.http.post(INFER, content=body, headers=headers).json()
        assert answer["id"] == f"request {number}"
        (probs,) = answer["outputs"]
        assert probs["shape"] == [len(rows), 3, len(LABELS)]
        np.testing.assert_allclose(probs["data"], expected.probs[:, rows].transpose(1, 0, 2).ravel(), atol=1e-6)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(80)))
