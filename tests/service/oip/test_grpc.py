"""gRPC with Triton's client and the published stubs: the same answers as REST's, and its own statuses."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import grpc as protocol
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

from runtime.images import encode_png
from service.server import drain
from tests.live import HANG_S, Live, Start
from tests.service.oip.bodies import ask, document
from tests.toy_bundle import LABELS, ToyBundle
from tests.toy_catalog import NO, YES, Gate, bundle_catalog, full, low, toy_catalog
from tests.toys import W2A4, Array

NUMBERS = ("class_index", "confidence", "agreement", "member_probs")


def tensor(images: np.ndarray[Any, Any], datatype: str) -> Any:
    value = triton.InferInput("image", list(images.shape), datatype)
    value.set_data_from_numpy(images)
    return value


def of(data: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    assert data is not None
    return data


@pytest.fixture
def stub(both: Live) -> Iterator[Any]:
    """The published stub, with nothing in between."""
    with protocol.insecure_channel(f"127.0.0.1:{both.app.state.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def address(server: Live) -> str:
    return f"127.0.0.1:{server.app.state.grpc_port}"


@pytest.mark.parametrize("datatype", ["FP32", "UINT8", "BYTES"])
@pytest.mark.parametrize("model", ["toy", "toy:fp32"])
def test_the_answer_is_that_of_rest(both: Live, grpc: Any, toy: ToyBundle, datatype: str, model: str) -> None:
    levels = np.rint(toy.images * 255).astype(np.uint8)
    images = {
        "FP32": levels.astype(np.float32) / np.float32(255),
        "UINT8": levels,
        "BYTES": np.array([[encode_png(image)] for image in toy.images], dtype=np.object_),
    }[datatype]
    result = grpc.infer(model, [tensor(images, datatype)], request_id="seven", model_version="1")
    answer = ask(both, document(levels.astype(np.float32) / np.float32(255)), f"/v2/models/{model}/infer").json()
    message = result.get_response()
    assert (message.model_name, message.model_version, message.id) == (model, "1", "seven")
    assert message.parameters["degraded"].bool_param is False
    assert [output.name for output in message.outputs] == [output["name"] for output in answer["outputs"]]
    for output in answer["outputs"]:
        read = of(result.as_numpy(output["name"]))
        assert list(read.shape) == output["shape"]
        if output["datatype"] == "BYTES":
            assert [each.decode() for each in read.ravel()] == output["data"]
        else:
            np.testing.assert_allclose(read.ravel(), output["data"], atol=1e-6)


def typed(images: Array, datatype: str, **contents: Any) -> Any:
    request = messages.ModelInferRequest(model_name="toy")
    value = request.inputs.add(name="image", datatype=datatype, shape=images.shape)
    for name, values in contents.items():
        getattr(value.contents, name).extend(values)
    return request


def test_typed_contents_are_read(stub: Any, toy: ToyBundle) -> None:
    levels = np.rint(toy.images[:2] * 255).astype(np.uint8)
    pixels = levels.astype(np.float32) / np.float32(255)
    pictures = np.empty((2, 1), np.float32)
    answers = [
        stub.ModelInfer(typed(pixels, "FP32", fp32_contents=pixels.ravel().tolist())),
        stub.ModelInfer(typed(pixels, "UINT8", uint_contents=levels.ravel().tolist())),
        stub.ModelInfer(typed(pictures, "BYTES", bytes_contents=[encode_png(image) for image in toy.images[:2]])),
    ]
    assert answers[0].raw_output_contents[0] == b"".join(
        len(LABELS[label]).to_bytes(4, "little") + LABELS[label].encode() for label in toy.classes[:2]
    )
    assert all(answer == answers[0] for answer in answers)


def test_outputs_and_mode_are_chosen(grpc: Any, toy: ToyBundle) -> None:
    wanted = [triton.InferRequestedOutput("member_status")]
    result = grpc.infer("toy", [tensor(toy.images, "FP32")], outputs=wanted, parameters={"mode": "quorum"})
    assert [output.name for output in result.get_response().outputs] == ["member_status"]
    assert b"skipped" in of(result.as_numpy("member_status"))


def test_the_server_and_its_models_describe_themselves(both: Live, grpc: Any) -> None:
    assert grpc.is_server_live() and grpc.is_server_ready()
    assert grpc.get_server_metadata(as_json=True)["name"] == "empir-serve"
    assert grpc.is_model_ready("toy") and grpc.is_model_ready("toy:fp32", "1")
    metadata = grpc.get_model_metadata("toy")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("image", "FP32", [-1, 1, 8, 8])
    ]
    config = grpc.get_model_config("toy").config
    rest = both.http.get("/v2/models/toy/config").json()
    assert (config.max_batch_size, [list(each.dims) for each in config.output]) == (
        rest["max_batch_size"],
        [each["dims"] for each in rest["output"]],
    )
    models = grpc.get_model_repository_index().models
    assert [(each.name, each.version, each.state) for each in models] == [("toy", "1", "READY")]


def test_what_a_model_has_done_is_counted(grpc: Any, toy: ToyBundle) -> None:
    (before,) = grpc.get_inference_statistics("toy").model_stats
    grpc.infer("toy", [tensor(toy.images[:3], "FP32")])
    (after,) = grpc.get_inference_statistics("toy").model_stats
    assert after.inference_count - before.inference_count == 3
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert len(grpc.get_inference_statistics().model_stats) == 4


def status_of(call: Callable[[], object]) -> tuple[str, str]:
    """The status and the message that a call ends with."""
    with pytest.raises(InferenceServerException) as caught:
        call()
    return str(caught.value.status()).removeprefix("StatusCode."), str(caught.value.message())


def test_wrong_requests_are_invalid_arguments(grpc: Any, stub: Any, toy: ToyBundle) -> None:
    wrong = tensor(toy.images[:, :, :4].copy(), "FP32")
    status, message = status_of(lambda: grpc.infer("toy", [wrong]))
    assert status == "INVALID_ARGUMENT"
    assert message.startswith("malformed: inputs[0].shape: expected [N, 1, 8, 8]")
    right = tensor(toy.images[:1], "FP32")
    assert status_of(lambda: grpc.infer("toy", [right], parameters={"mode": "all"}))[0] == "INVALID_ARGUMENT"
    unknown = [triton.InferRequestedOutput("no")]
    assert status_of(lambda: grpc.infer("toy", [right], outputs=unknown))[0] == "INVALID_ARGUMENT"
    for request, says in (
        (typed(toy.images[:1], "FP32", fp32_contents=[0.0] * 63), "expected 1 x 1 x 8 x 8 numbers"),
        (typed(toy.images[:1], "FP32", fp64_contents=[0.0] * 64), "expected fp32_contents for FP32, got fp64_contents"),
        (typed(toy.images[:1], "FP32"), "expected fp32_contents for FP32, got nothing"),
        (typed(toy.images[:1], "FP64", fp64_contents=[0.0] * 64), "inputs[0].datatype: expected FP32"),
        (messages.ModelInferRequest(model_name="toy"), "inputs: expected exactly one"),
        (messages.ModelInferRequest(model_name="toy", raw_input_contents=[b""]), "raw_input_contents: expected none"),
    ):
        with pytest.raises(protocol.RpcError) as caught:
            stub.ModelInfer(request)
        assert caught.value.code() == protocol.StatusCode.INVALID_ARGUMENT
        assert says in caught.value.details()


def test_what_the_server_does_not_have_is_unimplemented_and_no_fault_of_its_own(both: Live, stub: Any) -> None:
    for method, message in (
        (stub.SystemSharedMemoryRegister, messages.SystemSharedMemoryRegisterRequest(name="a")),
        (stub.CudaSharedMemoryStatus, messages.CudaSharedMemoryStatusRequest()),
        (stub.TraceSetting, messages.TraceSettingRequest()),
    ):
        with pytest.raises(protocol.RpcError) as caught:
            method(message)
        assert caught.value.code() == protocol.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == "this server shares no memory, and has no settings to change"


def test_unknown_models_are_not_found(grpc: Any, toy: ToyBundle) -> None:
    value = [tensor(toy.images[:1], "FP32")]
    assert status_of(lambda: grpc.infer("no", value))[0] == "NOT_FOUND"
    assert status_of(lambda: grpc.infer("toy", value, model_version="2"))[0] == "NOT_FOUND"
    for call in (grpc.get_model_metadata, grpc.get_model_config, grpc.get_inference_statistics):
        assert status_of(lambda call=call: call("toy:no"))[0] == "NOT_FOUND"  # type: ignore[misc]


def test_a_stream_is_answered_in_order_and_outlives_a_wrong_request(grpc: Any, toy: ToyBundle) -> None:
    answers: Queue[tuple[Any, Any]] = Queue()
    grpc.start_stream(callback=lambda result, error: answers.put((result, error)))
    for index in range(3):
        grpc.async_stream_infer("no" if index == 1 else "toy", [tensor(toy.images[index : index + 1], "FP32")])
    received = [answers.get(timeout=HANG_S) for _ in range(3)]
    grpc.stop_stream()
    assert [error is None for _, error in received] == [True, False, True]
    assert "model: expected toy" in str(received[1][1])
    for index in (0, 2):
        assert of(received[index][0].as_numpy("class_index")).item() == toy.classes[index]


def test_requests_of_a_stream_run_side_by_side(start: Start) -> None:
    gate = Gate("c", W2A4, YES)
    server = start(toy_catalog(gate, full(YES, "d")), grpc_port=0)
    answers: Queue[tuple[Any, Any]] = Queue()
    with triton.InferenceServerClient(address(server)) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        value = [tensor(np.zeros((1, 1, 1, 1), np.float32), "FP32")]
        for index in range(3):
            client.async_stream_infer("toy", value, request_id=str(index))
        assert gate.entered.wait(HANG_S)
        latest = time.monotonic() + HANG_S
        while server.state.scheduler._place.taken < 3:
            assert time.monotonic() < latest
            server.settle()
        gate.opened.set()
        assert [answers.get(timeout=HANG_S)[0].get_response().id for _ in range(3)] == ["0", "1", "2"]


def test_each_answer_of_a_stream_says_that_it_is_the_final_one(grpc: Any, stub: Any, toy: ToyBundle) -> None:
    value = [tensor(toy.images[:1], "FP32")]
    answers: Queue[tuple[Any, Any]] = Queue()
    grpc.start_stream(callback=lambda result, error: answers.put((result, error)))
    grpc.async_stream_infer("toy", value, request_id="1", enable_empty_final_response=True)
    grpc.async_stream_infer("toy", value, request_id="2")
    received = [answers.get(timeout=HANG_S)[0] for _ in range(2)]
    grpc.stop_stream()
    assert answers.empty()
    for index, result in enumerate(received):
        assert result.get_response().id == str(index + 1)
        assert result.get_response().parameters["triton_final_response"].bool_param is True
        assert of(result.as_numpy("class_index")).item() == toy.classes[0]
    assert "triton_final_response" not in grpc.infer("toy", value).get_response().parameters
    (refused,) = stub.ModelStreamInfer(iter([messages.ModelInferRequest(model_name="no", id="3")]))
    assert refused.error_message.startswith("model: expected toy")
    assert refused.infer_response.id == "3"
    assert refused.infer_response.parameters["triton_final_response"].bool_param is True
    wrong = typed(toy.images[:1], "FP32", fp32_contents=toy.images[0].ravel().tolist())
    wrong.parameters["triton_enable_empty_final_response"].int64_param = 1
    with pytest.raises(protocol.RpcError) as caught:
        stub.ModelInfer(wrong)
    assert caught.value.code() == protocol.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def health(both: Live) -> Iterator[Any]:
    with protocol.insecure_channel(address(both)) as channel:
        yield HealthStub(channel)


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_health_is_serving(health: Any, service: str) -> None:
    question = HealthCheckRequest(service=service)
    assert health.Check(question, timeout=HANG_S).status == HealthCheckResponse.SERVING
    watching = health.Watch(question)
    assert next(watching).status == HealthCheckResponse.SERVING
    watching.cancel()


def test_health_of_a_service_that_there_is_not_is_unknown(health: Any) -> None:
    question = HealthCheckRequest(service="no")
    with pytest.raises(protocol.RpcError) as caught:
        health.Check(question, timeout=HANG_S)
    assert caught.value.code() == protocol.StatusCode.NOT_FOUND
    assert "got 'no'" in caught.value.details()
    watching = health.Watch(question)
    assert next(watching).status == HealthCheckResponse.SERVICE_UNKNOWN
    watching.cancel()


def test_health_says_when_the_server_drains(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)), grpc_port=0)
    with protocol.insecure_channel(address(server)) as channel:
        health = HealthStub(channel)
        watching = health.Watch(HealthCheckRequest(), timeout=HANG_S)
        assert next(watching).status == HealthCheckResponse.SERVING
        drain(server.app)
        assert [answer.status for answer in watching] == [HealthCheckResponse.NOT_SERVING]
        assert health.Check(HealthCheckRequest()).status == HealthCheckResponse.NOT_SERVING


def test_no_quorum_is_unavailable_and_a_failure_gives_nothing_away(start: Start) -> None:
    server = start(toy_catalog(low(YES), low(NO, "b"), full(NO, failure="error")), grpc_port=0)
    pixel = [tensor(np.zeros((1, 1, 1, 1), np.float32), "FP32")]
    with triton.InferenceServerClient(address(server)) as client:
        status, message = status_of(lambda: client.infer("toy", pixel))
        assert status == "UNAVAILABLE" and message.startswith("no_quorum: image 0: no class has a majority")
        server.state.scheduler.predict = None  # type: ignore[assignment, method-assign]
        assert status_of(lambda: client.infer("toy", pixel)) == (
            "INTERNAL",
            "internal: the server failed; its log has the cause",
        )


def test_a_full_queue_is_resource_exhausted_and_a_late_answer_deadline_exceeded(start: Start) -> None:
    gates = [Gate("a", W2A4, YES), Gate("b", W2A4, YES)]
    server = start(toy_catalog(*gates, full(YES)), grpc_port=0, queue=0, deadline_ms=300)
    pixel = [tensor(np.zeros((1, 1, 1, 1), np.float32), "FP32")]
    with triton.InferenceServerClient(address(server)) as client, ThreadPoolExecutor(64) as pool:
        calls = [pool.submit(status_of, lambda: client.infer("toy", pixel)) for _ in range(64)]
        statuses = {call.result()[0] for call in calls}
        for gate in gates:
            gate.opened.set()
    assert statuses == {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}


def test_bundles_are_loaded_and_unloaded_with_the_key(start: Start, toy: ToyBundle, toy_copy: Path) -> None:
    other = shutil.copytree(toy_copy, toy_copy.parent / "other")
    manifest = other / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"name": "toy"', '"name": "other"', 1))
    catalog = bundle_catalog(toy.folder)
    server = start(catalog, bundles=toy_copy.parent, admin_key="open sesame", grpc_port=0)
    with triton.InferenceServerClient(address(server)) as client:
        assert status_of(lambda: client.load_model("other"))[0] == "UNAUTHENTICATED"
        assert status_of(lambda: client.load_model("other", headers={"x-admin-key": "x"}))[0] == "PERMISSION_DENIED"
        key = {"authorization": "Bearer open sesame"}
        assert status_of(lambda: client.load_model("no", headers=key))[0] == "NOT_FOUND"
        assert status_of(lambda: client.load_model("other", headers=key, config="{}"))[0] == "INVALID_ARGUMENT"
        client.load_model("other", headers=key)
        assert client.is_model_ready("other")
        assert [each.name for each in client.get_model_repository_index().models] == ["toy", "other"]
        client.unload_model("other", headers=key)
        assert status_of(lambda: client.get_model_metadata("other"))[0] == "NOT_FOUND"
        assert status_of(lambda: client.unload_model("toy", headers=key))[0] == "FAILED_PRECONDITION"


def test_calls_are_measured(both: Live, grpc: Any, toy: ToyBundle) -> None:
    labels = {"route": "grpc:ModelInfer", "method": "POST", "status": "200"}
    before = both.metric("empir_http_request_duration_seconds_count", **labels)
    grpc.infer("toy", [tensor(toy.images[:1], "FP32")])
    assert both.metric("empir_http_request_duration_seconds_count", **labels) == before + 1


def test_without_a_port_there_is_no_grpc(start: Start) -> None:
    server = start(toy_catalog(low(YES), full(YES)))
    assert not hasattr(server.app.state, "grpc_port")
