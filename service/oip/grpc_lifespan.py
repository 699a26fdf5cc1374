"""gRPC beside REST: started with the application where a port is set, and imported only then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from fastapi import FastAPI

from runtime.errors import EmpirError
from service.settings import Settings
from service.state import State

PACKAGES = ("grpc", "grpc_health", "tritonclient")


@asynccontextmanager
async def grpc_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Answer gRPC on `settings.grpc_port` while the application runs; its port is then in `app.state.grpc_port`."""
    state: State = app.state.empir
    if state.settings.grpc_port is None:
        yield
        return
    require_grpc(state.settings)
    from service.oip.grpc_server import serve_grpc

    async with serve_grpc(state, app.version) as app.state.grpc_port:
        yield


def require_grpc(settings: Settings) -> None:
    """Raise EmpirError if gRPC is asked for and its packages are not installed."""
    if settings.grpc_port is not None and not all(map(find_spec, PACKAGES)):
        raise EmpirError(
            "--grpc-port: expected the extra `grpc`, which is not installed: pip install empir-serve[grpc]"
        )
