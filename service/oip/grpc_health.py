"""`grpc.health.v1`: what Kubernetes and load balancers ask a gRPC server before they send it anything."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from service.state import State

if TYPE_CHECKING:
    from service.oip.grpc_server import Context

SERVICES = ("", "inference.GRPCInferenceService")
"""The server as a whole, and the one service that it has."""

WATCH_S = 0.2
"""How often a watcher's answer is looked at again."""


class HealthService(HealthServicer):  # type: ignore[misc]
    """Serving while every model is loaded and warm; not while the server drains."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def Check(self, message: Any, context: "Context") -> Any:
        """Whether a service serves; NOT_FOUND for one that there is not."""
        if message.service not in SERVICES:
            expected = " or ".join(repr(name) for name in SERVICES)
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: expected {expected}, got {message.service!r}")
        return self._response(message.service)

    async def Watch(self, message: Any, context: "Context") -> AsyncIterator[Any]:
        """The same, and again when it changes; a server that drains says so and ends the call, which it cannot keep."""
        said = self._response(message.service)
        yield said
        while self._state.ready:
            await asyncio.sleep(WATCH_S)
        if said != (now := self._response(message.service)):
            yield now

    def _response(self, service: str) -> Any:
        if service not in SERVICES:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        serving = HealthCheckResponse.SERVING if self._state.ready else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=serving)
