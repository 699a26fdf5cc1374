"""A model of 1 x 2 x 3 images, and requests to it that are read without a server."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from runtime.ensemble import Ensemble
from service.catalog import Catalog, Served
from service.oip.model import Model, find_model
from service.oip.request import read_request
from tests.service.oip.bodies import Document
from tests.toy_catalog import YES, full, low
from tests.toys import Array, toy_entry, toy_manifest

SHAPE = (1, 2, 3)
MOST = 4
IMAGES: Array = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, *SHAPE)


def model() -> Model:
    """A model of 1 x 2 x 3 images."""
    members = [low(YES), full(YES)]
    entries = [toy_entry(member.name, member.precision) for member in members]
    manifest = toy_manifest(entries, "c", SHAPE, ("no", "yes"))
    ensemble = Ensemble(members, manifest.vote, 2)
    return find_model(Catalog([Served(manifest, Path("nowhere"), ensemble)], "toy"), "toy")


MODEL = model()


def read(body: bytes, length: str | None = None) -> Any:
    return read_request(MODEL, body, length, MOST)


def read_document(request: Document) -> Any:
    return read(orjson.dumps(request))


def read_binary(body: bytes, headers: dict[str, str]) -> Any:
    return read(body, headers["Inference-Header-Content-Length"])
