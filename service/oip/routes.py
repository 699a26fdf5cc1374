"""`/v2`: the Open Inference Protocol over REST."""

from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from service.bodies import parse_object
from service.errors import MalformedRequest, Unavailable
from service.oip import description
from service.oip.admin import check_key
from service.oip.grpc_lifespan import grpc_lifespan
from service.oip.model import Model, all_models, find_model
from service.state import State

router = APIRouter(prefix="/v2", tags=["open inference protocol"], lifespan=grpc_lifespan)
MODEL, VERSION = "/models/{name}", "/models/{name}/versions/{version}"


@router.get("")
async def server_metadata(request: Request) -> Response:
    """Name, version and extensions of the server."""
    return _json(description.server_metadata(request.app.version))


@router.get("/health/live")
async def live() -> Response:
    """The process answers."""
    return _json({"live": True})


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """Every model is loaded and warm; 503 while the server starts or drains."""
    _refuse_unready(request)
    return _json({"ready": True})


@router.get("/models/stats")
async def all_statistics(request: Request) -> Response:
    """What every model has done, as Triton counts it."""
    state = _state(request)
    return _json((await state.total_statistics()).document(all_models(state.catalog)))


@router.get(VERSION, include_in_schema=False)
@router.get(MODEL)
async def metadata(request: Request) -> Response:
    """A model's inputs and outputs. A model is a bundle, or `BUNDLE:MEMBER` for one of its members alone."""
    return _json(description.metadata(_model(request)))


@router.get(VERSION + "/ready", include_in_schema=False)
@router.get(MODEL + "/ready")
async def model_ready(request: Request) -> Response:
    """Whether a model answers."""
    model = _model(request)
    _refuse_unready(request)
    return _json({"name": model.name, "ready": True})


@router.get(VERSION + "/config", include_in_schema=False)
@router.get(MODEL + "/config")
async def config(request: Request) -> Response:
    """A model's configuration, as Triton has it."""
    return _json(description.config(_model(request), _state(request).settings.max_batch))


@router.get(VERSION + "/stats", include_in_schema=False)
@router.get(MODEL + "/stats")
async def statistics(request: Request) -> Response:
    """What a model has done, as Triton counts it."""
    return _json((await _state(request).total_statistics()).document([_model(request)]))


@router.get("/repository/index", include_in_schema=False)
@router.post("/repository/index")
async def repository_index(request: Request) -> Response:
    """The bundles that are loaded, and those that could be. `{"ready": true}` leaves out the latter."""
    only_ready = (await _document(request)).get("ready", False)
    if not isinstance(only_ready, bool):
        raise MalformedRequest("ready: expected true or false, got something else")
    entries = _state(request).repository.index()
    return _json([asdict(entry) for entry in entries if entry.state == "READY" or not only_ready])


@router.post("/repository/models/{name}/load")
async def load(request: Request, name: str) -> Response:
    """Load a bundle from the server's folder, or load it anew. Needs the admin key."""
    state = _state(request)
    check_key(state.settings, request.headers)
    if (await _document(request)).get("parameters"):
        raise MalformedRequest("parameters: expected none; a bundle is loaded as it is in the server's folder")
    served = await state.repository.load(name)
    request.state.log.update(bundle=name, version=served.manifest.version, generation=served.generation)
    return _json({})


@router.post("/repository/models/{name}/unload")
async def unload(request: Request, name: str) -> Response:
    """Serve a bundle no longer. Needs the admin key."""
    state = _state(request)
    check_key(state.settings, request.headers)
    await state.repository.unload(name)
    return _json({})


def _state(request: Request) -> State:
    state: State = request.app.state.empir
    return state


def _named(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("version")


def _model(request: Request) -> Model:
    return find_model(_state(request).catalog, *_named(request))


def _refuse_unready(request: Request) -> None:
    if not _state(request).ready:
        raise Unavailable("the server is starting or draining")


async def _document(request: Request) -> dict[str, Any]:
    body = await request.body()
    return parse_object(body) if body else {}


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
