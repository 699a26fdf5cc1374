"""`POST /predict`: what is answered, however the image comes and whatever the members do."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import load_bundle
from runtime.ensemble import Ensemble
from runtime.images import encode_png
from runtime.member import Reason
from runtime.prediction import Mode
from tests.live import Live, Start, problem_of
from tests.toy_bundle import LABELS, ToyBundle
from tests.toy_catalog import DOT, NO, YES, full, low, toy_catalog

MODES: tuple[Mode, ...] = ("full", "quorum")


def test_the_three_ways_to_send_an_image_give_the_same_answer(server: Live, picture: bytes) -> None:
    nested = f'{{"image": "{base64.b64encode(picture).decode()}", "note": {99 * "["}{99 * "]"}}}'  # 100 levels
    answers = [
        server.http.post("/predict", files={"file": ("x.png", picture, "image/png")}, data={"note": "ignored"}),
        server.http.post("/predict", content=picture, headers={"Content-Type": "image/png"}),
        server.http.post("/predict", json={"image": base64.b64encode(picture).decode(), "note": ["ignored"]}),
        server.http.post("/predict", json={"image": f"data:image/png;base64,{base64.b64encode(picture).decode()}"}),
        server.http.post("/predict", content=nested, headers={"Content-Type": "application/json"}),
        server.http.post("/predict", content=picture, headers={"Content-Type": "Application/Octet-Stream; a=b"}),
        server.http.post("/predict", content=picture),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    documents = [answer.json() for answer in answers]
    for document in documents:
        for timed in (document, *document["members"]):
            del timed["latency_ms"]
        del document["request_id"]
        assert document == documents[0]


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_has_the_fields_of_the_design_and_no_more(server: Live, picture: bytes, mode: Mode) -> None:
    response = server.predict(picture, mode=mode)
    assert response.headers["content-type"] == "application/json"
    assert len(response.content) < 2048
    answer = response.json()
    assert list(answer) == [
        *("label", "class_index", "confidence", "agreement", "suspicious", "degraded", "mode", "votes", "members"),
        *("latency_ms", "bundle", "request_id"),
    ]
    for member in answer["members"]:
        assert list(member) == [
            *("name", "precision", "status", "label", "class_index", "confidence", "latency_ms"),
        ]
        assert list(member["precision"]) == ["weights", "activations"]
    assert list(answer["latency_ms"]) == ["decode", "queue", "inference", "vote", "total"]
    assert answer["bundle"] == {"name": "toy", "version": "1"}
    assert answer["request_id"] == response.headers["x-request-id"]
    assert (answer["mode"], answer["suspicious"], answer["degraded"]) == (mode, None, False)


def test_votes_and_confidences_are_the_runtimes(server: Live, toy: ToyBundle) -> None:
    ensemble = Ensemble.of_bundle(load_bundle(toy.folder))
    for image, label in zip(toy.images, toy.classes, strict=True):
        expected = ensemble.predict(np.rint(image[None] * 255).astype(np.float32) / np.float32(255))
        answer = server.predict(encode_png(image)).json()
        assert answer["class_index"] == expected.verdict[0] == label
        assert answer["label"] == LABELS[label]
        assert answer["confidence"] == pytest.approx(expected.confidence(0), abs=1e-6)
        assert answer["agreement"] == pytest.approx(expected.agreement(0), abs=1e-6)
        for member, votes, probs in zip(answer["members"], expected.votes, expected.probs, strict=True):
            assert member["class_index"] == votes[0]
            assert member["confidence"] == pytest.approx(float(probs[0].max()), abs=1e-6)
    ensemble.close()


def test_both_modes_give_the_same_verdict_and_quorum_skips(server: Live, toy: ToyBundle) -> None:
    skipped = 0
    for image in toy.images:
        answers = {mode: server.predict(encode_png(image), mode=mode).json() for mode in MODES}
        assert answers["full"]["label"] == answers["quorum"]["label"]
        assert [member["status"] for member in answers["full"]["members"]] == ["ok"] * 3
        for member in answers["quorum"]["members"]:
            if member["status"] == "skipped":
                skipped += 1
                assert (member["label"], member["class_index"], member["confidence"]) == (None, None, None)
                assert member["name"] == "fp32"
    assert skipped >= len(toy.images) / 2


def test_the_default_mode_is_the_settings(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(YES, "b"), full(NO)), mode="quorum")
    assert server.predict(DOT).json()["mode"] == "quorum"
    assert server.predict(DOT, mode="full").json()["mode"] == "full"


@pytest.mark.parametrize("failure", ["error", "nonfinite", "deadline"])
def test_a_failing_member_has_no_vote_and_is_named(start: Start, failure: Reason) -> None:
    broken = np.array([[np.nan, 0]], np.float32) if failure == "nonfinite" else YES
    server = start(toy_catalog(low(YES), low(broken, "b", failure=failure), full(YES)))
    answer = server.predict(DOT).json()
    assert (answer["label"], answer["degraded"], answer["agreement"], answer["votes"]) == ("yes", True, 1.0, {"yes": 2})
    assert [member["status"] for member in answer["members"]] == ["ok", failure, "ok"]
    member = answer["members"][1]
    assert (member["label"], member["class_index"], member["confidence"]) == (None, None, None)
    assert server.metric("empir_member_failures_total", bundle="toy", member="b", reason=failure) == 1
    assert "b" in server.logged(answer["request_id"])[0]["failures"]


def test_no_quorum_is_503_without_a_label(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(NO, "b"), full(NO, failure="error")))
    for mode in MODES:
        response = server.predict(DOT, mode=mode)
        assert response.status_code == 503
        problem = problem_of(response)
        assert problem["code"] == "no_quorum"
        assert "a: yes, b: no, c: error" in problem["detail"]
        assert "label" not in problem
    assert server.metric("empir_predictions_total", bundle="toy", outcome="no_quorum") == 2


def test_quorum_is_refused_where_the_vote_is_an_average(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(NO), rule="average"))
    response = server.predict(DOT, mode="quorum")
    assert (response.status_code, problem_of(response)["code"]) == (422, "invalid_value")
    assert server.predict(DOT).status_code == 200


def test_a_large_picture_is_read_too(server: Live) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert len(buffer.getvalue()) > 20_000  # decoded on a thread
    assert server.predict(buffer.getvalue()).status_code == 200
