"""`/`: the page to try it by hand, its files, and what it has to know before it begins."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from robustness.attacks.gradient import KINDS
from robustness.norms import NORMS, NormName
from robustness.parameters import GRADIENT_ATTACKS, default_eps
from runtime.manifest import Manifest
from service.catalog import Served
from service.state import State

router = APIRouter(include_in_schema=False)
INDEX = "index.html"
# A report's pictures come within it: the page fetches them from data: URLs, which ask nobody.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' data:; "
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
CLAIM = ("suite", "norm", "eps", "seed", "trustworthy", "clean", "robust")
"""What the page quotes of a report: its worst case, and all that such a figure needs beside it."""


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
    """Attacks, limits and samples of this server; for each bundle its range of eps and its report's worst case."""
    state: State = request.app.state.empir
    document = {
        "attacks": [{"name": name, "one_step": KINDS[name].one_step} for name in GRADIENT_ATTACKS],
        "mode": state.settings.mode,
        "max_body_bytes": state.settings.max_body_bytes,
        "samples": sorted(name for name in assets() if name.startswith("samples/")),
        "bundles": {served.manifest.name: _facts(served) for served in state.catalog},
    }
    return Response(
        orjson.dumps(document), headers={**HEADERS, "Cache-Control": "no-store"}, media_type="application/json"
    )


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
        "attackable": all(member.gradient_file is not None for member in manifest.members),
        "claim": None if served.report is None else _claim(served.report.document),
    }


def _eps(norm: NormName, manifest: Manifest) -> dict[str, float]:
    spec = manifest.input
    return {
        "default": default_eps(norm, spec.channels),
        "largest": NORMS[norm].largest((spec.channels, spec.height, spec.width)),
    }


@lru_cache(maxsize=64)
def _claim(document: bytes) -> dict[str, Any]:
    report = orjson.loads(document)
    return {key: report[key] for key in CLAIM}
