"""`POST /predict`: an image in, the verdict and every member's vote out."""

import asyncio
import time
from typing import Any, cast, get_args

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from runtime.ensemble import Mode, Prediction
from runtime.errors import InvalidValue, NoQuorum
from runtime.images import decode_image
from runtime.manifest import Manifest
from runtime.vote import NO_VOTE
from service import openapi
from service.bodies import image_bytes
from service.catalog import Served
from service.state import State

router = APIRouter()
MODES: tuple[str, ...] = get_args(Mode)
LARGE_BODY = 20_000
"""Bytes of an encoded picture from which decoding is worth a thread."""


@router.post("/predict", openapi_extra=openapi.PREDICT, responses=openapi.PREDICT_RESPONSES, tags=["predict"])
async def predict(request: Request) -> Response:
    """Classify an image: the voted label, and each member's own vote, confidence and time.

    The image is a multipart `file`, a raw `image/*` body, or JSON `{"image": "<base64>"}`.
    """
    start = time.perf_counter()
    state: State = request.app.state.empir
    query = request.query_params
    served = state.catalog.get(query.get("bundle"))
    mode = _mode(query.get("mode", state.settings.mode))
    data = await image_bytes(request)
    decoding = time.perf_counter()
    decode = (data, served.manifest.input, state.settings.max_pixels)
    image = await asyncio.to_thread(decode_image, *decode) if len(data) > LARGE_BODY else decode_image(*decode)
    decoded = time.perf_counter()
    prediction, waited = await state.scheduler.predict(served, image, mode)
    state.metrics.prediction(served.manifest, prediction, mode)
    stages = {
        "decode": decoded - decoding,
        "queue": waited,
        "inference": prediction.inference_seconds,
        "vote": prediction.vote_seconds,
    }
    for stage, seconds in stages.items():
        state.metrics.stage_duration_seconds.labels(stage).observe(seconds)
    request.state.log.update(bundle=served.manifest.name, mode=mode, **_logged(served, prediction))
    if prediction.verdict[0] == NO_VOTE:
        raise NoQuorum(_why_none(served.manifest, prediction))
    answer = _answer(served.manifest, prediction, mode)
    answer["latency_ms"] = {name: _ms(s) for name, s in stages.items()} | {"total": _ms(time.perf_counter() - start)}
    answer["bundle"] = {"name": served.manifest.name, "version": served.manifest.version}
    answer["request_id"] = request.state.request_id
    return Response(orjson.dumps(answer), media_type="application/json")


def _mode(value: str) -> Mode:
    if value not in MODES:
        raise InvalidValue(f"mode: expected {' or '.join(MODES)}, got {value!r}")
    return cast(Mode, value)


def _answer(manifest: Manifest, prediction: Prediction, mode: Mode) -> dict[str, Any]:
    verdict = int(prediction.verdict[0])
    tally: dict[str, int] = {}
    for vote in prediction.votes[:, 0].tolist():
        if vote != NO_VOTE:
            tally[manifest.labels[vote]] = tally.get(manifest.labels[vote], 0) + 1
    return {
        "label": manifest.labels[verdict],
        "class_index": verdict,
        "confidence": round(prediction.confidence(0), 6),
        "agreement": round(prediction.agreement(0), 6),
        "suspicious": None,
        "degraded": prediction.degraded(0),
        "mode": mode,
        "votes": tally,
        "members": [_member(manifest, prediction, index) for index in range(len(manifest.members))],
    }


def _member(manifest: Manifest, prediction: Prediction, index: int) -> dict[str, Any]:
    entry, vote, status = manifest.members[index], int(prediction.votes[index, 0]), prediction.status[index][0]
    has_vote = vote != NO_VOTE
    return {
        "name": entry.name,
        "precision": {"weights": entry.precision.weights, "activations": entry.precision.activations},
        "status": status,
        "label": manifest.labels[vote] if has_vote else None,
        "class_index": vote if has_vote else None,
        "confidence": round(float(prediction.probs[index, 0, vote]), 6) if has_vote else None,
        "latency_ms": _ms(prediction.seconds[index]),
    }


def _why_none(manifest: Manifest, prediction: Prediction) -> str:
    rows = zip(manifest.members, prediction.status, prediction.votes[:, 0].tolist(), strict=True)
    members = ", ".join(f"{m.name}: {manifest.labels[v] if v != NO_VOTE else s[0]}" for m, s, v in rows)
    return f"no class has a majority of all members and the tie-breaker has no vote ({members})"


def _logged(served: Served, prediction: Prediction) -> dict[str, Any]:
    verdict = int(prediction.verdict[0])
    label = None if verdict == NO_VOTE else served.manifest.labels[verdict]
    return {"label": label, **({"failures": prediction.details} if prediction.details else {})}


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
