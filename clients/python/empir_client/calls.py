"""The calls that a client offers: arguments to a request, a reply to an answer."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar
from urllib.parse import quote

from empir_client.answers import Prediction, Probe, Report
from empir_client.bundles import Bundles
from empir_client.errors import UnexpectedAnswer
from empir_client.exchange import Reply, Request
from empir_client.reading import read

T = TypeVar("T")
Mode = Literal["full", "quorum"]


class Savable(Protocol):
    """A picture that writes itself to a file, such as a `PIL.Image.Image`."""

    def save(self, fp: Any, format: str | None = None) -> Any: ...  # noqa: A002  PIL's name


ImageSource = str | os.PathLike[str] | bytes | Savable
"""An image: the path of its file, the bytes of an encoded picture (PNG, JPEG, WebP, GIF, BMP), or a PIL image."""


class ProbeParameters(TypedDict, total=False):
    """Of an attack; what is left out is the server's default."""

    bundle: str
    attack: Literal["fgsm", "bim", "mim", "pgd", "apgd", "cw-l2", "deepfool", "square", "hopskipjump"]
    norm: Literal["linf", "l2"]
    eps: float | str
    """Radius of the ball around the image: a number in units of pixels in [0, 1], or a fraction like "8/255"."""
    steps: int
    step_size: float | str
    restarts: int
    label: int
    """The true class index; without it the clean verdict is attacked."""
    target: int
    seed: int
    budget_ms: int


@dataclass(frozen=True)
class Call(Generic[T]):
    """What to send, and how to read what comes back."""

    request: Request
    answer: Callable[[Reply], T]


def predict(image: ImageSource, mode: Mode | None, bundle: str | None) -> Call[Prediction]:
    """`POST /predict`. Raises OSError if the image is a path that cannot be read."""
    return Call(_image_request("/predict", image, {"mode": mode, "bundle": bundle}), _as(Prediction))


def probe(image: ImageSource, parameters: ProbeParameters) -> Call[Probe]:
    """`POST /robustness-probe`. Raises OSError if the image is a path that cannot be read."""
    return Call(_image_request("/robustness-probe", image, parameters), _as(Probe))


def bundles() -> Call[Bundles]:
    """`GET /bundles`."""
    return Call(Request("GET", "/bundles"), _as(Bundles))


def report(bundle: str) -> Call[Report]:
    """`GET /bundles/NAME/report.json`."""
    return Call(Request("GET", f"/bundles/{quote(bundle, safe='')}/report.json"), _report)


def ready() -> Call[None]:
    """`GET /health/ready`."""
    return Call(Request("GET", "/health/ready"), lambda reply: None)


def image_bytes(image: ImageSource) -> bytes:
    """The encoded picture. Raises OSError if it is a path that cannot be read."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if not hasattr(image, "save"):
        raise TypeError(f"image: expected a path, bytes or a PIL image, got {type(image).__name__}")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _image_request(path: str, image: ImageSource, query: Any) -> Request:
    params = {name: str(value) for name, value in query.items() if value is not None}
    return Request("POST", path, params, image_bytes(image))


def _as(kind: type[T]) -> Callable[[Reply], T]:
    return lambda reply: read(kind, _document(reply))


def _report(reply: Reply) -> Report:
    document = _document(reply)
    return replace(read(Report, document), document=document)


def _document(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise UnexpectedAnswer(f"expected JSON, got {len(reply.body)} bytes that are none: {error}") from error
