"""`POST /v2/models/{name}[/versions/{version}]/infer` without a framework between the socket and the codec."""

import re
from functools import partial
from inspect import getdoc
from typing import Any

from service.errors import EncodedBody
from service.exchange import Exchange
from service.middleware import HotRoute
from service.oip.infer import respond
from service.oip.model import find_model
from service.oip.request import HEAD_LENGTH, read_request
from service.oip.response import write_response
from service.predict import server_timing
from service.state import State

PATH = "/v2/models/{name}/infer"
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")


def find_infer(path: str) -> HotRoute | None:
    """The route of a path that infers; None for any other."""
    found = _PATH.fullmatch(path) if path.endswith("/infer") else None
    return None if found is None else HotRoute(PATH, partial(model_infer, name=found[1], version=found[2]))


async def model_infer(exchange: Exchange, name: str, version: str | None) -> None:
    """Classify a batch of images.

    The input `image` is FP32 [N, C, H, W] in [0, 1], UINT8 of that shape, or BYTES [N] of encoded pictures, as JSON or
    as binary tensors. Request parameter `mode`: full or quorum.
    """
    state: State = exchange.scope["app"].state.empir
    body = await exchange.body()
    model = find_model(state.catalog, name, version)
    with state.statistics.counting(model, state.ledger) as counted, state.scheduler.place() as since:
        if (encoding := exchange.header(b"content-encoding") or "identity") != "identity":
            raise EncodedBody(f"Content-Encoding: expected none, got {encoding[:32]!r}; send the body as it is")
        request = read_request(model, body, exchange.header(HEAD_LENGTH) or None, state.settings.max_batch)
        response = await respond(state, model, request, counted, exchange.log, since, exchange.left, exchange.parts)
        answer, headers = write_response(response)
    await exchange.respond(answer, (*headers, (b"server-timing", server_timing(counted.stages))))


OPERATION: dict[str, Any] = {
    "tags": ["open inference protocol"],
    "summary": "Infer",
    "description": getdoc(model_infer),
    "operationId": "model_infer",
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
    "requestBody": {"required": True, "content": {"application/json": {}, "application/octet-stream": {}}},
    "responses": {"200": {"description": "The outputs asked for."}, "400": {"description": "A wrong tensor; `error`."}},
}
