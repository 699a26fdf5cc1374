"""`POST /predict`: an image in, the verdict and every member's vote out."""

import time
from typing import Any, cast, get_args

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from runtime.answer import answer, milliseconds
from runtime.errors import InvalidValue
from runtime.prediction import Mode, Prediction
from runtime.vote import NO_VOTE
from service import openapi
from service.bodies import image_bytes, refuse_unknown_query
from service.catalog import Served
from service.state import State

router = APIRouter()
MODES: tuple[str, ...] = get_args(Mode)


@router.post("/predict", openapi_extra=openapi.PREDICT, responses=openapi.PREDICT_RESPONSES, tags=["predict"])
async def predict(request: Request) -> Response:
    """Classify an image: the voted label, and each member's own vote, confidence and time.

    The image is a multipart `file`, a raw `image/*` body, or JSON `{"image": "<base64>"}`.
    `suspicious` is null where the bundle has no threshold for it, or a member that it needs has no vote, such as one
    that a quorum skipped.
    """
    start = time.perf_counter()
    state: State = request.app.state.empir
    query = request.query_params
    refuse_unknown_query(request, ("mode", "bundle"))
    served = state.catalog.get(query.get("bundle"))
    mode = _mode(query.get("mode", state.settings.mode))
    data = await image_bytes(request)
    async with state.scheduler.place():
        decoding = time.perf_counter()
        image = await state.decoder.image(data, served.manifest.input)
        decoded = time.perf_counter()
        prediction, waited = await state.scheduler.predict(served, image, mode)
    stages = {
        "decode": decoded - decoding,
        "queue": waited,
        "inference": prediction.inference_seconds,
        "vote": prediction.vote_seconds,
    }
    state.metrics.bundles[served.manifest.name].predicted(prediction, mode, stages)
    request.state.log.update(bundle=served.manifest.name, mode=mode, **_logged(served, prediction))
    document = answer(served.manifest, prediction, mode)
    if document["suspicious"]:
        state.metrics.bundles[served.manifest.name].suspected()
    document["latency_ms"] = {name: milliseconds(seconds) for name, seconds in stages.items()}
    document["latency_ms"]["total"] = milliseconds(time.perf_counter() - start)
    document["bundle"] = {"name": served.manifest.name, "version": served.manifest.version}
    document["request_id"] = request.state.request_id
    return Response(orjson.dumps(document), media_type="application/json")


def _mode(value: str) -> Mode:
    if value not in MODES:
        raise InvalidValue(f"mode: expected {' or '.join(MODES)}, got {value!r}")
    return cast(Mode, value)


def _logged(served: Served, prediction: Prediction) -> dict[str, Any]:
    verdict = int(prediction.verdict[0])
    label = None if verdict == NO_VOTE else served.manifest.labels[verdict]
    return {"label": label, **({"failures": prediction.details} if prediction.details else {})}
