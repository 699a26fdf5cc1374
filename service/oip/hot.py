"""`POST /v2/models/{name}[/versions/{version}]/infer` without a framework between the socket and the codec."""

import re
from functools import partial
from inspect import getdoc
from typing import Any

from starlette.datastructures import Headers

from service.exchange import Exchange
from service.middleware import HotRoute
from service.oip.infer import infer
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
    headers = Headers(scope=exchange.scope)
    body = await exchange.body()
    answer, described = await infer(state, name, version, headers, body, exchange.log, exchange.left, exchange.parts)
    media_type = described.pop("content-type").encode()
    others = [(key.encode(), value.encode()) for key, value in described.items()]
    await exchange.respond(answer, media_type, others)


OPERATION: dict[str, Any] = {
    "tags": ["open inference protocol"],
    "summary": "Infer",
    "description": getdoc(model_infer),
    "operationId": "model_infer",
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
    "requestBody": {"required": True, "content": {"application/json": {}, "application/octet-stream": {}}},
    "responses": {"200": {"description": "The outputs asked for."}, "400": {"description": "A wrong tensor; `error`."}},
}
