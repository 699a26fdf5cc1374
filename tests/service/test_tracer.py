"""Traces: every request a span, with its stages and members inside, in the caller's trace; sent where settings say."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from runtime.errors import EmpirError
from service.settings import Settings
from service.tracer import Tracer, require_tracing
from tests.live import HANG_S, Live, live
from tests.toy_catalog import DOT, NO, YES, full, low, toy_catalog

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "Content-Type": "image/png"}


@dataclass
class Traced:
    """A server whose spans stay in memory."""

    server: Live
    kept: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def spans(self) -> dict[str, ReadableSpan]:
        """The spans by name, of the requests so far but the one that waits for them."""
        self.server.settle()
        return {span.name: span for span in self.kept.get_finished_spans() if "health" not in span.name}


@pytest.fixture
def traced() -> Iterator[Traced]:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    catalog = toy_catalog(low(YES), low(YES, "b"), full(NO))
    with live(Settings(default="toy", grpc_port=0), catalog, tracer=Tracer(provider)) as server:
        yield Traced(server, kept)


def test_a_prediction_is_a_span_of_the_callers_trace_with_its_stages_inside(traced: Traced) -> None:
    answer = traced.server.http.post("/predict?mode=quorum", content=DOT, headers=CALLER)
    spans = traced.spans()
    assert list(spans) == ["decode", "queue", "member a", "member b", "vote", "POST /predict"]  # c was not asked
    request = spans["POST /predict"]
    assert request.parent is not None and f"{request.parent.span_id:016x}" == SPAN
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.context.span_id:016x}-01"
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["empir.request_id"] == answer.headers["x-request-id"]
    inside = [span for span in spans.values() if span is not request]
    assert {span.parent and span.parent.span_id for span in inside} == {request.context.span_id}
    moments = [request.start_time, *[span.start_time for span in inside], request.end_time]
    assert all(one is not None and other is not None and one <= other for one, other in pairwise(moments))
    assert traced.server.logged(answer.headers["x-request-id"])[0]["trace_id"] == TRACE


def test_inference_is_traced_alike(traced: Traced) -> None:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": np.zeros(1).tolist()}
    answer = traced.server.http.post("/v2/models/toy/infer", json={"inputs": [tensor]}, headers=CALLER)
    assert answer.status_code == 200
    names = ["decode", "queue", "member a", "member b", "member c", "vote", "POST /v2/models/{name}/infer"]
    assert list(traced.spans()) == names


def test_grpc_is_traced_alike(traced: Traced) -> None:
    given = (("traceparent", CALLER["traceparent"]), ("x-request-id", "mine"))
    message = messages.ModelInferRequest(model_name="toy", raw_input_contents=[bytes(4)])
    message.inputs.add(name="image", datatype="FP32", shape=[1, 1, 1, 1])
    with grpc.insecure_channel(f"127.0.0.1:{traced.server.app.state.grpc_port}") as channel:
        _, call = GRPCInferenceServiceStub(channel).ModelInfer.with_call(message, metadata=given)
    spans = traced.spans()
    assert list(spans) == ["decode", "queue", "member a", "member b", "member c", "vote", "grpc ModelInfer"]
    request = spans["grpc ModelInfer"]
    assert request.parent is not None and f"{request.parent.span_id:016x}" == SPAN
    assert request.attributes is not None and request.attributes["empir.request_id"] == "mine"
    trailing = dict(call.trailing_metadata())
    assert trailing == {"x-request-id": "mine", "traceparent": f"00-{TRACE}-{request.context.span_id:016x}-01"}


def test_a_refusal_is_traced_and_a_fault_is_marked(traced: Traced) -> None:
    traced.server.http.post("/predict?mode=no", content=DOT)
    span = traced.spans()["POST /predict"]
    assert span.parent is None  # a trace of its own
    assert span.attributes is not None and span.attributes["http.response.status_code"] == 422
    assert span.status.is_unset


def test_without_a_tracer_the_callers_trace_goes_into_log_and_answer(server: Live, picture: bytes) -> None:
    answer = server.http.post("/predict", content=picture, headers=CALLER)
    assert answer.headers["traceparent"] == CALLER["traceparent"]
    assert server.logged(answer.headers["x-request-id"])[0]["trace_id"] == TRACE
    answer = server.http.post("/predict", content=picture, headers={"traceparent": "nonsense"})
    assert answer.status_code == 200 and "traceparent" not in answer.headers


def test_spans_reach_the_collector_that_the_settings_name() -> None:
    received, arrived = [], threading.Event()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()
            arrived.set()

        def log_message(self, *line: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        settings = Settings(default="toy", otlp_endpoint=f"http://127.0.0.1:{collector.server_port}")
        with live(settings, toy_catalog(low(YES), full(YES)), tracer=Tracer.of(settings)) as server:
            assert server.predict(DOT).status_code == 200
        assert arrived.wait(HANG_S)  # what is left is sent at the end
        collector.shutdown()
    (path, body), *_ = received
    assert path == "/v1/traces" and b"member a" in body and b"empir-serve" in body


def test_without_its_packages_the_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.tracer.find_spec", lambda name: None)
    require_tracing(Settings())
    with pytest.raises(EmpirError, match="expected the extra `tracing`"):
        require_tracing(Settings(otlp_endpoint="http://127.0.0.1:4318"))
