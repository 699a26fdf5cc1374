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
    mode: Mode | None = None,
    bundle: str | None = None,
    probes: float = 0.0,
) -> Workload:
    """The requests for a server. Asks it for the model's input shape where the body needs one.

    Raises ValueError if it does not tell, OSError if it is not there.
    """
    sent = _tensors(target, pictures, mode, bundle) if target.body.startswith("oip") else None
    if sent is None:
        query = _query(target, mode, bundle)
        sent = [_post(target, target.path("/predict") + query, *_image(each, target.body)) for each in pictures]
    asked = [
        _post(target, "/robustness-probe" + _query(target, None, bundle), *_image(each, "png")) for each in pictures
    ]
    return Workload(sent, asked, probes)


def _tensors(target: Target, pictures: Sequence[Image.Image], mode: Mode | None, bundle: str | None) -> list[bytes]:
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


def _query(target: Target, mode: Mode | None, bundle: str | None) -> str:
    given = dict(parse_qsl(target.parts.query))
    query = urlencode({**given, **({"mode": mode} if mode else {}), **({"bundle": bundle} if bundle else {})})
    return f"?{query}" if query else ""


def _post(target: Target, path: str, body: bytes, kind: str, more: Mapping[str, str] | None = None) -> bytes:
    headers = {"Host": target.parts.netloc, "Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
