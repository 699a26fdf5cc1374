"""`/health/*`, `/metrics` and `/bundles`: what the server says of itself."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from runtime.ensemble import Ensemble
from service import reports
from service.catalog import Served
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
    """The bundles that are served, each with its labels, its input, its members, how they vote and run, and its report.

    `engine` is what runs a member, and `reason` why, where several could. `concurrency` is whether members run side by
    side (`members`) or one after the other (`requests`) while cores are idle, and what one image took either way, in
    milliseconds, when this process started.
    """
    catalog = _state(request).catalog
    return {"default": catalog.default, "bundles": [_described(served) for served in catalog]}


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    _state(request).ledger.flush()
    return Response(exposition(_state(request).metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _described(served: Served) -> dict[str, Any]:
    manifest, ensemble = served.manifest, served.ensemble
    known = {"name", "version", "description", "labels", "input", "members", "vote", "clean_accuracy"}
    document = manifest.model_dump(mode="json", include=known)
    for member, engine in zip(document["members"], ensemble.engines, strict=True):
        member |= {"engine": engine.name, "reason": engine.reason}
    report = None if served.report is None else reports.link(manifest.name)
    return {**document, "concurrency": _concurrency(ensemble), "report": report}


def _concurrency(ensemble: Ensemble) -> dict[str, Any]:
    timing = ensemble.timing
    return {
        "setting": ensemble.concurrency,
        "chosen": ensemble.way,
        "in_turn_ms": None if timing is None else 1000 * timing.in_turn,
        "side_by_side_ms": None if timing is None else 1000 * timing.side_by_side,
        "cores": ensemble.cores,
    }


def _state(request: Request) -> State:
    state: State = request.app.state.empir
    return state
