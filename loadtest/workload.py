"""What is sent: HTTP requests as bytes, prepared before the clock starts."""

import base64
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from PIL import Image

from loadtest.client import Request
from loadtest.oip import binary_body, json_body, model_at
from loadtest.pictures import Shape, encoded, tensor
from loadtest.recording import PREDICTION, PROBE
from loadtest.target import Target

Mode = Literal["full", "quorum"]
RAW_SHAPE: Shape = (1, 28, 28)
"""Of `raw` bodies, float32 without a head: what a handler for digits takes."""


@dataclass(frozen=True)
class Workload:
    """Requests to one server: predictions in turn, and a share of probes among them."""

    predictions: Sequence[bytes]
    probes: Sequence[bytes] = ()
    share: float = 0.0

    def stream(self, seed: int) -> Iterator[Request]:
        """Requests without end; the same for the same seed."""
        predictions = itertools.cycle([(PREDICTION, each) for each in self.predictions])
        return self._mixed(predictions, random.Random(seed)) if self.share else predictions

    def _mixed(self, predictions: Iterator[Request], chance: random.Random) -> Iterator[Request]:
        probes = itertools.cycle([(PROBE, each) for each in self.probes])
        while True:
            yield next(probes if chance.random() < self.share else predictions)


def workload(
    target: Target,
    pictures: Sequence[Image.Image],
    mode: str | None = None,
    bundle: str | None = None,
    probes: float = 0.0,
) -> Workload:
    """The requests for a server; a `mode` or `bundle` in its URL goes before those given here.

    Asks the server for the model's input shape where the body needs one.

    Raises ValueError if it does not tell, OSError if it is not there.
    """
    query = dict(parse_qsl(target.parts.query))
    mode, bundle = query.pop("mode", mode), query.pop("bundle", bundle)
    if target.body.startswith("oip"):
        sent = _tensors(target, pictures, mode, bundle)
    else:
        path = target.path("/predict") + _query({"mode": mode, "bundle": bundle, **query})
        sent = [_post(target, path, *_image(each, target.body)) for each in pictures]
    path = "/robustness-probe" + _query({"bundle": bundle})
    return Workload(sent, [_post(target, path, *_image(each, "png")) for each in pictures], probes)


def _tensors(target: Target, pictures: Sequence[Image.Image], mode: str | None, bundle: str | None) -> list[bytes]:
    model = model_at(target.base, bundle)
    path = target.path(f"/v2/models/{quote(model.name)}/infer")
    requests = []
    for picture in pictures:
        image = tensor(picture, model.shape)
        if target.body == "oip-json":
            requests.append(_post(target, path, json_body(image, model.input, mode), "application/json"))
            continue
        body, head = binary_body(image, model.input, mode)
        length = {"Inference-Header-Content-Length": str(head)}
        requests.append(_post(target, path, body, "application/octet-stream", length))
    return requests


def _image(picture: Image.Image, body: str) -> tuple[bytes, str]:
    if body == "raw":
        return tensor(picture, RAW_SHAPE).astype("<f4").tobytes(), "application/octet-stream"
    if body == "json":
        return orjson.dumps({"image": base64.b64encode(encoded(picture, "png")).decode()}), "application/json"
    return encoded(picture, body), f"image/{body}"


def _query(asked: Mapping[str, str | None]) -> str:
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"?{query}" if query else ""


def _post(target: Target, path: str, body: bytes, kind: str, more: Mapping[str, str] | None = None) -> bytes:
    headers = {"Host": target.parts.netloc, "Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
