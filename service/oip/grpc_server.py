"""GRPCInferenceService with the published stubs of `tritonclient`, over the same core as REST."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol

import grpc
import structlog
from google.protobuf.json_format import ParseDict
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer, add_GRPCInferenceServiceServicer_to_server

from service.errors import REFUSALS, STATUS, MalformedRequest, code_of
from service.exchange import request_id_of
from service.logs import make_logger
from service.oip import description
from service.oip.admin import check_key
from service.oip.grpc_health import HealthService
from service.oip.grpc_messages import final_message, from_message, to_message
from service.oip.grpc_stream import in_order
from service.oip.infer import respond
from service.oip.model import all_models, find_model
from service.state import State
from service.tracer import RequestTrace, Tracer

DRAIN_S = 5.0
STREAM_MOST = 8
"""Requests of one stream that are under way at a time: enough for batches; each may hold a whole body."""
STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's statuses for those that REST answers with."""


class Context(Protocol):
    """What this module uses of grpc.aio.ServicerContext."""

    async def abort(self, code: Any, details: str) -> None:
        """End the call with this status, by raising."""
        ...

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None:
        """The call's headers, by lower-case name."""
        ...

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Headers that follow the answer."""
        ...


class Call:
    """One message on its way: its headers, what its log line says, and its place in a trace."""

    def __init__(self, context: Context, tracer: Tracer | None) -> None:
        metadata = context.invocation_metadata() or ()
        self.headers = {key: value for key, value in metadata if isinstance(value, str)}
        self.start = time.perf_counter()
        self.log: dict[str, Any] = {"request_id": request_id_of(self.headers.get("x-request-id", "").encode())}
        self.trace = RequestTrace(tracer, self.headers.get("traceparent", ""), self.start, self.log)
        own = [("x-request-id", self.log["request_id"])]
        if self.trace.traceparent:
            own.append(("traceparent", self.trace.traceparent.decode()))
        context.set_trailing_metadata(own)


Answer = Callable[[State, Any, Call], Awaitable[Any]]


@asynccontextmanager
async def serve_grpc(state: State, version: str) -> AsyncIterator[int]:
    """Answer gRPC while the block runs; its value is the port. Raises OSError if that is taken."""
    settings = state.settings
    options = [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.so_reuseport", settings.workers > 1),
    ]
    server = grpc.aio.server(options=options)
    add_GRPCInferenceServiceServicer_to_server(InferenceService(state, version, make_logger(settings)), server)
    add_HealthServicer_to_server(HealthService(state), server)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host} port {settings.grpc_port}: choose another with --grpc-port") from error
    await server.start()
    try:
        yield port
    finally:
        await server.stop(DRAIN_S)


class InferenceService(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Each method answers one message; what it raises becomes a status, a measurement and a log line in `_call`."""

    def __init__(self, state: State, version: str, log: structlog.typing.FilteringBoundLogger) -> None:
        self._state, self._version, self._log = state, version, log

    async def ServerLive(self, message: Any, context: Context) -> Any:
        """The process answers."""
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, message: Any, context: Context) -> Any:
        """Whether every model is loaded and warm; not while the server drains."""
        return messages.ServerReadyResponse(ready=self._state.ready)

    async def ServerMetadata(self, message: Any, context: Context) -> Any:
        """Name, version and extensions of the server."""
        return messages.ServerMetadataResponse(**description.server_metadata(self._version))

    async def ModelReady(self, message: Any, context: Context) -> Any:
        """Whether a model answers."""
        return await self._call(_model_ready, "ModelReady", message, context)

    async def ModelMetadata(self, message: Any, context: Context) -> Any:
        """A model's inputs and outputs."""
        return await self._call(_metadata, "ModelMetadata", message, context)

    async def ModelConfig(self, message: Any, context: Context) -> Any:
        """A model's configuration."""
        return await self._call(_config, "ModelConfig", message, context)

    async def ModelStatistics(self, message: Any, context: Context) -> Any:
        """What a model has done; all models where none is named."""
        return await self._call(_statistics, "ModelStatistics", message, context)

    async def ModelInfer(self, message: Any, context: Context) -> Any:
        """Classify a batch of images."""
        return await self._call(_infer, "ModelInfer", message, context)

    async def ModelStreamInfer(self, stream: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """Classify batches as they come; one that is refused is answered with its error, and the stream goes on."""

        async def answer(message: Any) -> Any:
            _, _, answered, error = await self._measured(_infer, "ModelStreamInfer", message, context)
            return final_message(message, answered, error)

        settings = self._state.settings
        most = min(STREAM_MOST, settings.cores + settings.queue)  # a stream alone is never refused for its own pace
        async with aclosing(in_order(stream, answer, most)) as answers:
            async for answered in answers:
                yield answered

    async def RepositoryIndex(self, message: Any, context: Context) -> Any:
        """The bundles that are loaded, and unless only these are asked for those that could be."""
        return await self._call(_index, "RepositoryIndex", message, context)

    async def RepositoryModelLoad(self, message: Any, context: Context) -> Any:
        """Load a bundle from the server's folder, or load it anew."""
        return await self._call(_load, "RepositoryModelLoad", message, context)

    async def RepositoryModelUnload(self, message: Any, context: Context) -> Any:
        """Serve a bundle no longer."""
        return await self._call(_unload, "RepositoryModelUnload", message, context)

    async def _refuse(self, message: Any, context: Context) -> None:
        """What the stubs raise otherwise is a fault in the log, with its traceback, for whoever asks."""
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED, "this server shares no memory, and has no settings to change"
        )

    SystemSharedMemoryStatus = SystemSharedMemoryRegister = SystemSharedMemoryUnregister = _refuse
    CudaSharedMemoryStatus = CudaSharedMemoryRegister = CudaSharedMemoryUnregister = _refuse
    TraceSetting = LogSettings = _refuse

    async def _call(self, answer: Answer, method: str, message: Any, context: Context) -> Any:
        status, code, answered, error = await self._measured(answer, method, message, context)
        if error is not None:
            await context.abort(STATUSES.get(status, grpc.StatusCode.INTERNAL), f"{code}: {error}")
        return answered

    async def _measured(
        self, answer: Answer, method: str, message: Any, context: Context
    ) -> tuple[int, str | None, Any, str | None]:
        """The status as of REST, the code and the message of what went wrong if anything did, and the answer."""
        call = Call(context, self._state.tracer)
        status, code, answered, error = 499, None, None, None  # the client's leaving cancels the call
        try:
            answered, status = await answer(self._state, message, call), 200
        except Exception as raised:
            code = code_of(raised)
            status, error = STATUS.get(code, 500), str(raised)
            if status >= 500 and code == "internal":
                self._log.error("failed", method=method, request_id=call.log["request_id"], exc_info=raised)
                error = "the server failed; its log has the cause"
        finally:
            self._record(method, status, code, call)
        return status, code, answered, error

    def _record(self, method: str, status: int, code: str | None, call: Call) -> None:
        metrics, end = self._state.metrics, time.perf_counter()
        seconds = end - call.start
        metrics.http_request_duration_seconds.labels(f"grpc:{method}", "POST", status).observe(seconds)
        if code is not None:
            call.log["code"] = code
            if code in REFUSALS:
                metrics.requests_rejected.labels(code).inc()
        self._log.info("request", method="gRPC", path=method, status=status, ms=round(1000 * seconds, 2), **call.log)
        about: dict[str, str | int] = {
            "rpc.system": "grpc",
            "rpc.method": method,
            "http.response.status_code": status,
            "empir.request_id": call.log["request_id"],
        }
        call.trace.end(f"grpc {method}", end, about)


async def _model_ready(state: State, message: Any, call: Call) -> Any:
    find_model(state.catalog, message.name, message.version)
    return messages.ModelReadyResponse(ready=state.ready)


async def _metadata(state: State, message: Any, call: Call) -> Any:
    model = find_model(state.catalog, message.name, message.version)
    return ParseDict(description.metadata(model), messages.ModelMetadataResponse())


async def _config(state: State, message: Any, call: Call) -> Any:
    model = find_model(state.catalog, message.name, message.version)
    document = description.config(model, state.settings.max_batch)
    return ParseDict({"config": document}, messages.ModelConfigResponse())


async def _statistics(state: State, message: Any, call: Call) -> Any:
    named = [find_model(state.catalog, message.name, message.version)] if message.name else all_models(state.catalog)
    return ParseDict((await state.total_statistics()).document(named), messages.ModelStatisticsResponse())


async def _infer(state: State, message: Any, call: Call) -> Any:
    model = find_model(state.catalog, message.model_name, message.model_version)
    with state.statistics.counting(model, state.ledger) as counted, state.scheduler.place() as since:
        request = from_message(model, message, state.settings.max_batch)
        return to_message(await respond(state, model, request, counted, call.log, since, parts=call.trace.parts))


async def _index(state: State, message: Any, call: Call) -> Any:
    entries = [entry for entry in state.repository.index() if entry.state == "READY" or not message.ready]
    return ParseDict({"models": [asdict(entry) for entry in entries]}, messages.RepositoryIndexResponse())


async def _load(state: State, message: Any, call: Call) -> Any:
    check_key(state.settings, call.headers)
    if message.parameters:
        raise MalformedRequest("parameters: expected none; a bundle is loaded as it is in the server's folder")
    await state.repository.load(message.model_name)
    return messages.RepositoryModelLoadResponse()


async def _unload(state: State, message: Any, call: Call) -> Any:
    check_key(state.settings, call.headers)
    await state.repository.unload(message.model_name)
    return messages.RepositoryModelUnloadResponse()
