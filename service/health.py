"""`/health/*`, `/metrics` and `/bundles`: what the server says of itself."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from service import reports
from service.errors import Unavailable
from service.exposition import exposition
from service.state import State

router = APIRouter()


@router.get("/health/live", tags=["health"])
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready", tags=["health"])
async def ready(request: Request) -> dict[str, str]:
    """Every bundle is loaded and warm; 503 while it is not, or while the server drains."""
    state: State = request.app.state.empir
    if not state.ready:
        raise Unavailable("the server is starting or draining")
    return {"status": "ready"}


@router.get("/bundles", tags=["bundles"])
async def bundles(request: Request) -> dict[str, Any]:
    """The bundles that are served, each with its labels, its input, its members, how they vote, and its report."""
    catalog = (state := _state(request)).catalog
    described = [
        {
            **served.manifest.model_dump(
                mode="json",
                include={"name", "version", "description", "labels", "input", "members", "vote", "clean_accuracy"},
            ),
            "report": None if served.report is None else reports.link(served.manifest.name),
        }
        for served in catalog
    ]
    return {"default": state.catalog.default, "bundles": described}


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    _state(request).ledger.flush()
    return Response(exposition(_state(request).metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _state(request: Request) -> State:
    state: State = request.app.state.empir
    return state
