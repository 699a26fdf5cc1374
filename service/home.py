"""`/`: the page to try it by hand, its files, and what it has to know before it begins."""

import gzip
import hashlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from robustness.norms import NORMS, NormName, eps_text
from robustness.parameters import (
    ATTACKS,
    QUERY_ATTACKS,
    AttackName,
    default_attack,
    default_eps,
    steps_of,
)
from runtime.manifest import Manifest
from service.catalog import Served
from service.state import State

router = APIRouter(include_in_schema=False)
INDEX = "index.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
}
CLAIM = ("suite", "norm", "eps", "seed", "trustworthy", "clean", "robust", "curve")
"""Of a report, what the page quotes: its worst case, all that such a figure needs beside it, and its curve."""
MOST_SAMPLES = 10


@dataclass(frozen=True)
class Asset:
    """A file of the page, as it is and with gzip."""

    body: bytes
    packed: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> "Asset":
        """Raises KeyError for a kind of file that the page has not."""
        packed = gzip.compress(body, mtime=0)
        return cls(body, packed, MEDIA_TYPES[name.rpartition(".")[2]], hashlib.sha256(body).hexdigest()[:16])


@router.api_route("/", methods=["GET", "HEAD"])
async def home(request: Request) -> Response:
    """The page."""
    return _answer(request, INDEX)


@router.get("/page/start.json")
async def start(request: Request) -> Response:
    """Mode and limit of this server; for each bundle what it can be attacked with, its report's claim, and samples."""
    state: State = request.app.state.empir
    document = {
        "mode": state.settings.mode,
        "max_body_bytes": state.settings.max_body_bytes,
        "bundles": {served.manifest.name: _facts(served) for served in state.catalog},
    }
    return Response(
        orjson.dumps(document), headers={**HEADERS, "Cache-Control": "no-store"}, media_type="application/json"
    )


@router.get("/page/gallery/{bundle}/{index}.png")
async def picture(request: Request, bundle: str, index: int) -> Response:
    """A picture of a bundle's report, as it was before the attack. Raises HTTPException 404 where there is none."""
    state: State = request.app.state.empir
    pictures = _gallery(state.catalog.get(bundle))
    if not 0 <= index < len(pictures):
        raise HTTPException(404, f"page: {bundle} has {len(pictures)} pictures, there is no number {index}")
    headers = {**HEADERS, "Cache-Control": "no-cache"}
    return Response(b64decode(pictures[index]["original"]), headers=headers, media_type="image/png")


@router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """A file of the page. Raises HTTPException 404 for any other name; the disk is not asked."""
    return _answer(request, name)


@cache
def assets() -> dict[str, Asset]:
    """All files of the page by name, read once."""
    return {name: Asset.of(name, body) for name, body in _read(files("service").joinpath("static"))}


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()


def _answer(request: Request, name: str) -> Response:
    asset = assets().get(name)
    if asset is None:
        raise HTTPException(404, f"page: there is no file {name!r}")
    packed = "gzip" in request.headers.get("accept-encoding", "") and len(asset.packed) < len(asset.body)
    etag = f'"{asset.etag}{"-gzip" if packed else ""}"'
    # Kept, and asked about each time: after an upgrade nobody runs an old script.
    headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": etag, "Vary": "Accept-Encoding"}
    if etag in (tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.packed if packed else asset.body, headers=headers, media_type=asset.media_type)


def _facts(served: Served) -> dict[str, Any]:
    manifest = served.manifest
    return {
        "eps": {norm: _eps(norm, manifest) for norm in NORMS},
        "attacks": [{"name": name, "steps": _steps(name)} for name in _attacks(manifest)],
        "claim": None if served.report is None else _claim(_report(served.report.document)),
        "samples": _samples(served),
    }


def _claim(report: dict[str, Any]) -> dict[str, Any]:
    """What the page quotes of a report, its eps as people write it: `8/255`."""
    return {key: report[key] for key in CLAIM} | {"eps": eps_text(report["eps"])}


def _attacks(manifest: Manifest) -> tuple[AttackName, ...]:
    """Those that the probe takes: without gradient graphs, the ones that only ask."""
    return QUERY_ATTACKS if default_attack(manifest) in QUERY_ATTACKS else ATTACKS


def _steps(name: AttackName) -> dict[str, Any]:
    """What the field for steps is called, and takes."""
    default, _, largest = steps_of(name)
    return {"called": "Queries" if name in QUERY_ATTACKS else "Steps", "default": default, "largest": largest}


def _eps(norm: NormName, manifest: Manifest) -> dict[str, float]:
    spec = manifest.input
    return {
        "default": default_eps(norm, spec.channels),
        "largest": NORMS[norm].largest((spec.channels, spec.height, spec.width)),
    }


def _samples(served: Served) -> list[dict[str, str]]:
    """Digits for a bundle that reads digits; for another, pictures of its report if it has one."""
    name = served.manifest.name
    if served.manifest.input.resize == "digit":
        digits = sorted(path for path in assets() if path.startswith("samples/"))
        return [{"name": PurePosixPath(path).stem, "url": f"page/{path}"} for path in digits]
    pictures = enumerate(_gallery(served))
    return [{"name": each["label"], "url": f"page/gallery/{quote(name)}/{index}.png"} for index, each in pictures]


def _gallery(served: Served) -> list[dict[str, Any]]:
    gallery: list[dict[str, Any]] = [] if served.report is None else _report(served.report.document)["gallery"]
    return gallery[:MOST_SAMPLES]


@lru_cache(maxsize=64)
def _report(document: bytes) -> dict[str, Any]:
    """Of a report, what the page shows."""
    report = orjson.loads(document)
    return {key: report[key] for key in (*CLAIM, "gallery")}
