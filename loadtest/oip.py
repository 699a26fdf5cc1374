"""Bodies of the Open Inference Protocol V2, and what a model says of its input."""

from dataclasses import dataclass

import orjson

from loadtest.exchange import ask
from loadtest.pictures import Shape, Tensor

Mode = str | None
INPUT = "image"


@dataclass(frozen=True)
class Model:
    """A model as its metadata tell: its name, and the shape of one image."""

    name: str
    shape: Shape
    input: str = INPUT


def model_at(base: str, name: str | None) -> Model:
    """The model `name` of the server at `base` (http://HOST:PORT), or its default bundle.

    Raises ValueError if the server does not tell, or the model takes no images.
    """
    name = name or _default(base)
    answer = orjson.loads(_found(base, f"/v2/models/{name}"))
    inputs = {str(each.get("name")): each for each in answer.get("inputs", [])}
    chosen = inputs.get(INPUT) or (next(iter(inputs.values())) if inputs else {})
    shape = [int(size) for size in chosen.get("shape", [])]
    if len(shape) != 4 or min(shape[1:]) < 1:
        raise ValueError(f"{base}/v2/models/{name}: expected an input of shape [-1, C, H, W], got {shape}")
    return Model(name, (shape[1], shape[2], shape[3]), str(chosen["name"]))


def json_body(image: Tensor, name: str, mode: Mode) -> bytes:
    """An inference request with its numbers in JSON, flat."""
    data = orjson.dumps(image.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    head = _request(image, name, {"data": orjson.Fragment(data)}, {"mode": mode} if mode else {})
    return orjson.dumps(head)


def binary_body(image: Tensor, name: str, mode: Mode) -> tuple[bytes, int]:
    """An inference request with its tensor behind the JSON, answered in the same way; and the JSON's length."""
    asked: dict[str, object] = {"binary_data_output": True, **({"mode": mode} if mode else {})}
    raw = image.astype("<f4").tobytes()
    head = orjson.dumps(_request(image, name, {"parameters": {"binary_data_size": len(raw)}}, asked))
    return head + raw, len(head)


def _request(image: Tensor, name: str, data: dict[str, object], parameters: dict[str, object]) -> dict[str, object]:
    entry = {"name": name, "shape": list(image.shape), "datatype": "FP32", **data}
    return {"inputs": [entry], **({"parameters": parameters} if parameters else {})}


def _default(base: str) -> str:
    try:
        return str(orjson.loads(_found(base, "/bundles"))["default"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--bundle: {base}/bundles does not tell the default model: name one ({error})") from error


def _found(base: str, path: str) -> bytes:
    status, body = ask(base, path)
    if status != 200:
        raise ValueError(f"{base}{path}: expected 200, got {status}: {body[:200].decode(errors='replace')}")
    return body
