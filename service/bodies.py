"""The image in a request: a multipart file, a raw body, or base64 in JSON."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from runtime.errors import ImageError, InvalidValue
from service.errors import MalformedRequest
from service.exchange import Exchange

MOST_FIELDS = 20
MOST_FIELD_BYTES = 1024
DEEPEST_JSON = 100


async def image_bytes(exchange: Exchange) -> bytes:
    """The encoded image of a request. Raises MalformedRequest or ImageError, saying what was expected instead."""
    kind = exchange.header(b"content-type").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data = await _from_form(exchange)
    elif kind == "application/json":
        data = _from_json(await exchange.body())
    elif kind.startswith("image/") or kind in ("", "application/octet-stream"):
        data = await exchange.body()
    else:
        raise ImageError(f"Content-Type: expected multipart/form-data, image/* or application/json, got {kind!r}")
    if not data:
        raise MalformedRequest("image: expected an encoded picture, got an empty one")
    return data


def parse_object(body: bytes, expected: str = "an object") -> dict[str, Any]:
    """A small JSON object, without keys that stand there twice. Raises MalformedRequest, saying what was expected."""
    # A count, which is quick, spares parsing a body that nests for its own sake; base64 has no brackets.
    if body.count(b"[") + body.count(b"{") > DEEPEST_JSON:
        raise MalformedRequest(f"JSON: expected {expected}, at most {DEEPEST_JSON} levels, got more brackets")
    try:
        document = json.loads(body, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"JSON: expected {expected}, got {error}") from error
    if not isinstance(document, dict):
        raise MalformedRequest(f"JSON: expected {expected}")
    return document


def refuse_unknown_query(given: Iterable[str], known: Collection[str]) -> None:
    """Raise InvalidValue for a query parameter that does not exist: `?epsilon=` must not attack with another eps."""
    for name in given:
        if name not in known:
            raise InvalidValue(f"query: expected {', '.join(known)}, got {name!r}")


async def _from_form(exchange: Exchange) -> bytes:
    try:
        form = await _Form.of(exchange).parse()
    except MultiPartException as error:
        several = "expected exactly one file, in a field of any name (`file`), got several"
        raise MalformedRequest(f"multipart: {several if 'files' in error.message else error.message}") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise MalformedRequest(
                f"multipart: expected exactly one file, in a field of any name (`file`), got {len(files)}"
            )
        if any(not name for name, _ in form.multi_items()):
            raise MalformedRequest("multipart: expected a name for every field, got a field without one")
        return await files[0].read()
    finally:
        await form.close()


class _Form(MultiPartParser):
    """Starlette's parser, which by itself takes a form without an end for a whole one."""

    ended = False

    @classmethod
    def of(cls, exchange: Exchange) -> "_Form":
        async def whole() -> AsyncGenerator[bytes, None]:
            async for chunk in exchange.stream():
                yield chunk
            if not form.ended:  # raised inside parse(), which then closes the files that it has opened
                raise MultiPartException("expected a closing boundary, got a form without an end")

        form = cls(
            Headers(scope=exchange.scope), whole(), max_files=2, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES
        )
        return form

    def on_end(self) -> None:
        self.ended = True


def _from_json(body: bytes) -> bytes:
    expected = '{"image": "<base64>"}'
    text = parse_object(body, expected).get("image")
    if not isinstance(text, str):
        raise MalformedRequest(f"JSON: expected {expected}")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest(f"image: expected base64, got {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key that stands there twice")
    return document
