"""An inference request, and how one is read from a REST body: JSON, or JSON followed by binary tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from runtime.member import Images
from runtime.prediction import Mode
from service.bodies import DEEPEST_JSON
from service.errors import MalformedRequest
from service.oip.images import NAME, Pictures, read_image
from service.oip.model import Model
from service.oip.tensors import Tensor
from service.predict import parse_mode

HEAD_LENGTH = b"inference-header-content-length"
FEW_LISTS = 1000
"""Lists and objects of a request beside those of its images."""
_BRACKETS = b"[{]}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks for, checked against the model that it asks."""

    id: str
    image: Images | Pictures
    """Float32 [N, C, H, W] in [0, 1], or N encoded pictures."""
    mode: Mode | None
    outputs: tuple[tuple[str, bool], ...]
    """Names, each with whether it is to come as bytes behind the JSON."""


def checked_request(
    model: Model,
    request_id: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[tuple[str, bool]],
    parameters: Mapping[str, Any],
    most_images: int,
) -> InferRequest:
    """A request whose parts came over REST or gRPC; no `outputs` means all of them.

    Raises MalformedRequest, naming the field, or InvalidValue for the parameter `mode`.
    """
    if len(inputs) != 1:
        found = ", ".join(each.name[:64] for each in inputs[:8]) or "none"
        raise MalformedRequest(f"inputs: expected exactly one, {NAME!r}, got {len(inputs)} ({found})")
    names = [name for name, _ in outputs]
    for index, name in enumerate(names):
        if name not in model.outputs:
            raise MalformedRequest(f"outputs[{index}].name: expected {', '.join(model.outputs)}, got {name[:64]!r}")
        if name in names[:index]:
            raise MalformedRequest(f"outputs[{index}].name: {name!r} is asked for twice")
    binary = parameters.get("binary_data_output", False) is True
    chosen = tuple(outputs) or tuple((name, binary) for name in model.outputs)
    given = parameters.get("mode")
    mode = None if given is None else parse_mode(given, "parameters.mode")
    image = read_image(inputs[0], model.served.manifest.input, most_images)
    return InferRequest(request_id, image, mode, chosen)


def read_request(model: Model, body: bytes, head_length: str | None, most_images: int) -> InferRequest:
    """The request in a REST body whose first `head_length` bytes are JSON; all of it where there is no such header.

    Raises MalformedRequest or InvalidValue as `checked_request` does.
    """
    length = len(body) if head_length is None else _head_length(head_length, len(body))
    spec = model.served.manifest.input
    most_lists = FEW_LISTS + most_images * (1 + spec.channels * (1 + spec.height))  # of images, planes and rows
    read = _read_again if length <= SHORT_HEAD else _read_head
    head = read(body[:length], head_length is not None, most_lists)
    inputs = _filled(head.inputs, memoryview(body)[length:])
    return checked_request(model, head.id, inputs, head.outputs, head.parameters, most_images)


@dataclass(frozen=True, slots=True)
class _Head:
    """What the JSON of a request says. It may be read by several requests, and is changed by none."""

    id: str
    parameters: Mapping[str, Any]
    inputs: Sequence[tuple[Tensor, Any]]
    """Each with what it says is the number of its bytes behind the JSON; None where its values are in it."""
    outputs: Sequence[tuple[str, bool]]


def _read_head(text: bytes, announced: bool, most_lists: int) -> _Head:
    document = _document(text, most_lists)
    parameters = _mapping(document, "parameters")
    entries = enumerate(_entries(document, "inputs"))
    inputs = [_described(entry, f"inputs[{index}]", announced) for index, entry in entries]
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        raise MalformedRequest("id: expected a string, got something else")
    return _Head(request_id, parameters, inputs, _outputs(document, parameters))


SHORT_HEAD = 512
"""Bytes of JSON up to which it is remembered: a client that sends tensors as bytes says the same of each."""
_read_again = lru_cache(maxsize=64)(_read_head)


def _head_length(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise MalformedRequest(
            f"Inference-Header-Content-Length: expected 0 to {most:,}, the body's length, got {text[:32]!r}"
        )
    return int(text)


def _document(head: bytes, most_lists: int) -> dict[str, Any]:
    _refuse_brackets(head, most_lists)
    try:
        document = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"JSON: expected an inference request, got {error}") from error
    if not isinstance(document, dict):
        raise MalformedRequest("JSON: expected an inference request, an object, got something else")
    return document


def _refuse_brackets(head: bytes, most_lists: int) -> None:
    """Nesting for its own sake, and more lists than any request has: parsing those takes seconds.

    Brackets within strings count too: no name or picture has a hundred of them in a row that open.
    """
    brackets = head.translate(None, _OTHERS)
    if len(brackets) > 2 * most_lists:
        raise MalformedRequest(f"JSON: expected at most {most_lists:,} lists and objects, got more")
    if len(brackets) > DEEPEST_JSON:
        codes = np.frombuffer(brackets, np.uint8)
        if np.where((codes == ord("[")) | (codes == ord("{")), 1, -1).cumsum().max() > DEEPEST_JSON:
            raise MalformedRequest(f"JSON: expected at most {DEEPEST_JSON} levels, got more")


def _mapping(document: Mapping[str, Any], key: str, where: str = "") -> dict[str, Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise MalformedRequest(f"{where}{key}: expected an object, got something else")
    return value or {}


def _entries(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise MalformedRequest(f"{key}: expected a list of objects, got something else")
    return entries


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise MalformedRequest(f"{where}.{key}: expected a string, got {'none' if value is None else 'something else'}")
    return value


def _described(entry: Mapping[str, Any], where: str, announced: bool) -> tuple[Tensor, Any]:
    name, datatype = _text(entry, "name", where), _text(entry, "datatype", where)
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(dim) is int for dim in shape):
        raise MalformedRequest(f"{where}.shape: expected a list of whole numbers, got something else")
    parameters = _mapping(entry, "parameters", f"{where}.")
    if "shared_memory_region" in parameters:
        raise MalformedRequest(f"{where}.parameters.shared_memory_region: expected none; this server shares no memory")
    size, data = parameters.get("binary_data_size"), entry.get("data")
    field = f"{where}.parameters.binary_data_size"
    if size is None:
        if not isinstance(data, list):
            raise MalformedRequest(f"{where}.data: expected a list, or binary_data_size, got neither")
    elif data is not None:
        raise MalformedRequest(f"{field}: expected either this or data, got both")
    elif not announced:
        raise MalformedRequest(f"{field}: expected the header Inference-Header-Content-Length with it, got none")
    return Tensor(name, datatype, tuple(shape), None, data), size


def _filled(inputs: Sequence[tuple[Tensor, Any]], binary: memoryview) -> list[Tensor]:
    """The inputs with their bytes, of which there must be just as many as they say."""
    filled, at = [], 0
    for index, (tensor, size) in enumerate(inputs):
        if size is None:
            filled.append(tensor)
            continue
        left = len(binary) - at
        if type(size) is not int or not 0 <= size <= left:
            field, got = f"inputs[{index}].parameters.binary_data_size", repr(size)[:32]
            raise MalformedRequest(f"{field}: expected 0 to {left:,}, the bytes that are left, got {got}")
        filled.append(Tensor(tensor.name, tensor.datatype, tensor.shape, binary[at : at + size]))
        at += size
    if at != len(binary):
        raise MalformedRequest(f"inputs: binary_data_size adds up to {at:,} bytes, {len(binary):,} follow the JSON")
    return filled


def _outputs(document: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[tuple[str, bool]]:
    default = _flag(parameters, "binary_data_output", "parameters", False)
    outputs = []
    for index, entry in enumerate(_entries(document, "outputs")):
        where = f"outputs[{index}]"
        wanted = _mapping(entry, "parameters", f"{where}.")
        for extension in ("classification", "shared_memory_region"):
            if extension in wanted:
                raise MalformedRequest(f"{where}.parameters.{extension}: expected none; this server has no such thing")
        binary = _flag(wanted, "binary_data", f"{where}.parameters", default)
        outputs.append((_text(entry, "name", where), binary))
    return outputs


def _flag(parameters: Mapping[str, Any], key: str, where: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise MalformedRequest(f"{where}.{key}: expected true or false, got something else")
    return value
