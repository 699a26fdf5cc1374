"""Inference: a request in, the response out; the same for REST and gRPC, and neither is known here."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from runtime.errors import ImageError, ImageTooLarge, InvalidValue
from runtime.images import open_picture
from runtime.member import Images
from runtime.prediction import Mode
from service.errors import MalformedRequest
from service.oip.images import Pictures
from service.oip.model import Model
from service.oip.request import InferRequest
from service.oip.response import InferResponse
from service.oip.statistics import Counted
from service.predict import parts_of, stages_of
from service.scheduler import Placed
from service.state import State
from service.trace import Span


async def respond(
    state: State,
    model: Model,
    request: InferRequest,
    counted: Counted,
    log: dict[str, Any],
    since: float,
    left: Callable[[], bool] = lambda: False,
    parts: list[Span] | None = None,
) -> InferResponse:
    """The answer to a request that is read already and has its place, since `since`.

    `log` and `parts`, a trace's, are added to; `left` says whether the client has gone. Raises MalformedRequest,
    ImageTooLarge, QueueFull, DeadlineExceeded, CallerLeft or NoQuorum.
    """
    mode: Mode = "full" if model.member is not None else request.mode or state.settings.mode
    log.update(model=model.name, mode=mode, images=len(request.image))
    start = time.perf_counter()
    images, waited = await _images(state, model, request.image, left, since)
    decoded = time.perf_counter()
    placed = await state.scheduler.predict(model.served, images, mode, left, since, counted.executed)
    if parts is not None:
        parts += parts_of(model.served.manifest, placed, start, waited, decoded)
    prediction = placed.judged.prediction
    counted.images, counted.together = len(images), len(prediction.verdict)
    counted.stages = stages_of(placed, decoded - start, waited)
    state.ledger.note(partial(_count, state, model, placed, mode, counted.stages))
    if prediction.details:
        log["failures"] = prediction.details
    model.check_quorum(prediction, placed.images)
    outputs = [(model.output(name, prediction, placed.images), binary) for name, binary in request.outputs]
    degraded = any(prediction.degraded(image) for image in placed.images)
    return InferResponse(model.name, model.version, request.id, degraded, outputs)


def _count(state: State, model: Model, placed: Placed, mode: Mode, stages: dict[str, float]) -> None:
    series = state.metrics.of(model.served.manifest)
    series.staged(stages)
    if model.member is not None:
        return  # of a member alone there is no vote to count
    for image in placed.images:
        series.predicted(placed.judged.prediction, image, mode)
        if placed.judged.suspicious[image]:
            series.suspected()


async def _images(
    state: State, model: Model, image: Images | Pictures, left: Callable[[], bool], since: float
) -> tuple[Images, float]:
    """The images of a request, and the seconds for which its pictures waited to be decoded."""
    if isinstance(image, np.ndarray):
        return image, 0.0
    limit = state.settings.max_pixels
    decoded, pixels, waited = [], 0, 0.0
    for index, data in enumerate(image):
        try:
            if len(image) > 1:
                picture = open_picture(data, limit)
                pixels += picture.width * picture.height
                await asyncio.sleep(0)  # others have a turn between two pictures
            if pixels > limit:
                raise ImageTooLarge(f"image: expected at most {limit:,} pixels in one request, got more")
            one, one_waited = await state.decoder.image(data, model.served.manifest.input, left, since)
            decoded.append(one)
            waited += one_waited
        except ImageTooLarge as error:
            raise ImageTooLarge(f"inputs[0], element {index}: {error}") from error
        except (ImageError, InvalidValue) as error:  # here a picture is a tensor's element, and a wrong tensor is 400
            raise MalformedRequest(f"inputs[0], element {index}: {error}") from error
    return decoded[0] if len(decoded) == 1 else np.concatenate(decoded), waited
