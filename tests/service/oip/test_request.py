"""Reading requests: what is right is read exactly, and whatever else comes is refused."""

import copy
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidValue
from service.errors import MalformedRequest
from tests.service.oip.bodies import Document, binary, document, elements, fp32
from tests.service.oip.reading import IMAGES, MOST, SHAPE, read, read_binary, read_document
from tests.toys import Array

pixels = st.integers(1, MOST).flatmap(
    lambda n: st.lists(st.floats(0, 1, width=32), min_size=6 * n, max_size=6 * n).map(
        lambda values: np.array(values, np.float32).reshape(-1, *SHAPE)
    )
)


@given(pixels, st.text(max_size=20))
def test_binary_pixels_come_through_bit_by_bit_and_are_not_copied(images: Array, request_id: str) -> None:
    body, headers = fp32(images, id=request_id)
    request = read_binary(body, headers)
    assert request.id == request_id
    assert request.image.tobytes() == images.tobytes()
    assert np.shares_memory(request.image, np.frombuffer(body, np.uint8))


@given(pixels, st.booleans())
def test_json_pixels_come_through_nested_or_flat(images: Array, nested: bool) -> None:
    data = images.tolist() if nested else images.ravel().tolist()
    request = read_document(document(images, data=data))
    assert request.image.dtype == np.float32 and request.image.flags.c_contiguous
    np.testing.assert_array_equal(request.image, images)


@given(st.lists(st.integers(0, 255), min_size=6, max_size=6), st.booleans())
def test_levels_become_what_a_decoded_picture_would_be(levels: list[int], as_bytes: bool) -> None:
    entry: Document = {"name": "image", "datatype": "UINT8", "shape": [1, *SHAPE]}
    if as_bytes:
        request = read_binary(*binary({"inputs": [{**entry, "parameters": {"binary_data_size": 6}}]}, bytes(levels)))
    else:
        request = read_document({"inputs": [{**entry, "data": levels}]})
    expected = np.array(levels, np.uint8).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(request.image, expected.reshape(1, *SHAPE))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=MOST), st.booleans())
def test_byte_strings_come_through(pictures: list[bytes], column: bool) -> None:
    raw, shape = elements(*pictures), [len(pictures), 1] if column else [len(pictures)]
    entry = {"name": "image", "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    assert read_binary(*binary({"inputs": [entry]}, raw)).image == pictures


@pytest.mark.parametrize("as_bytes", [True, False], ids=["binary", "JSON"])
def test_what_tritons_client_writes_is_read(as_bytes: bool) -> None:
    tensor = triton.InferInput("image", list(IMAGES.shape), "FP32")
    tensor.set_data_from_numpy(IMAGES, binary_data=as_bytes)
    wanted = [triton.InferRequestedOutput("label", binary_data=False), triton.InferRequestedOutput("confidence")]
    body, length = triton.InferenceServerClient.generate_request_body(
        [tensor], wanted, request_id="a", parameters={"mode": "quorum"}
    )
    request = read(body, None if length is None else str(length))
    np.testing.assert_array_equal(request.image, IMAGES)
    assert request.outputs == (("label", False), ("confidence", True))
    assert (request.id, request.mode) == ("a", "quorum")


def test_a_hair_beyond_0_and_1_is_what_rounding_does() -> None:
    images = np.array([-1e-6, 1 + 1e-6, 0, 1, 0.5, 0.5], np.float32).reshape(1, *SHAPE)
    np.testing.assert_array_equal(read_document(document(images)).image, images)
    np.testing.assert_array_equal(read_binary(*fp32(images)).image, images)


def test_many_brackets_side_by_side_are_no_depth() -> None:
    assert len(read_document({**document(IMAGES, data=IMAGES.tolist()), "x": [[]] * 500}).image) == 2


@given(st.binary(max_size=300), st.none() | st.integers(-5, 400).map(str) | st.text(max_size=8))
def test_any_bytes_are_read_or_refused(body: bytes, length: str | None) -> None:
    with suppress(MalformedRequest):
        read(body, length)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
WHOLE: Document = {
    **document(IMAGES, parameters={"x": 1}),
    "id": "a",
    "parameters": {"mode": "full", "binary_data_output": False},
    "outputs": [{"name": "label", "parameters": {"binary_data": True}}],
}
PLACES: list[tuple[Any, ...]] = [
    *((key,) for key in ("inputs", "outputs", "id", "parameters")),
    *(("parameters", key) for key in ("mode", "binary_data_output")),
    *(("inputs", 0, *rest) for rest in ((), ("shape", 0), ("data", 0), ("parameters", "binary_data_size"))),
    *(("inputs", 0, key) for key in ("name", "shape", "datatype", "data", "parameters")),
    *(("outputs", 0, *rest) for rest in ((), ("name",), ("parameters",), ("parameters", "binary_data"))),
]


def put(holder: Any, place: tuple[Any, ...], value: object) -> None:
    """Put a value in its place, where an earlier one has left that place."""
    with suppress(IndexError, KeyError, TypeError):
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=2),
    st.sampled_from(["FP32", "UINT8", "BYTES"]),
    st.booleans(),
)
def test_a_request_with_anything_in_any_place_is_read_or_refused(
    changes: list[tuple[tuple[Any, ...], Any]], datatype: str, with_header: bool
) -> None:
    request = copy.deepcopy(WHOLE)
    request["inputs"][0]["datatype"] = datatype
    for place, value in changes:
        put(request, place, value)
    body = orjson.dumps(request)
    with suppress(MalformedRequest, InvalidValue):
        read(body, str(len(body)) if with_header else None)
