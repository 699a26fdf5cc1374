"""Writing responses: Triton's client reads from them what went in."""

from typing import Any

import numpy as np
import orjson
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st

from service.oip.response import InferResponse, write_response
from service.oip.tensors import Output, unpack_elements

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def numbers(datatype: str, dtype: type[np.generic], elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Output]:
    """Outputs of shape [N, 2]."""
    rows = st.lists(st.tuples(elements, elements), min_size=1, max_size=4)
    arrays = rows.map(lambda values: np.array(values, dtype))
    return arrays.map(lambda data: Output("x", datatype, data.shape, data))


words = st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), min_size=1, max_size=4).map(
    lambda values: Output("x", "BYTES", (len(values), 1), [value.encode() for value in values])
)
outputs = st.one_of(
    numbers("FP32", np.float32, floats), numbers("INT64", np.int64, st.integers(-(2**63), 2**63 - 1)), words
)


@given(st.lists(st.tuples(outputs, st.booleans()), min_size=1, max_size=4), st.text(max_size=8), st.booleans())
def test_a_response_is_read_as_it_was_written(
    drawn: list[tuple[Output, bool]], request_id: str, degraded: bool
) -> None:
    named = [(Output(f"x{i}", each.datatype, each.shape, each.data), raw) for i, (each, raw) in enumerate(drawn)]
    body, headers = write_response(InferResponse("toy", "1", request_id, degraded, named))
    length = dict(headers).get(b"inference-header-content-length")
    assert (length is None) == (not any(raw for _, raw in drawn))
    result = triton.InferenceServerClient.parse_response_body(body, header_length=length and int(length))
    head = result.get_response()
    assert (head.get("id", ""), head["parameters"]) == (request_id, {"degraded": degraded})
    for output, _ in named:
        read = result.as_numpy(output.name)
        assert read.shape == output.shape
        if isinstance(output.data, list):
            assert [each.encode() if isinstance(each, str) else each for each in read.ravel()] == output.data
        else:
            np.testing.assert_array_equal(read, output.data)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_byte_strings_come_back(elements: list[bytes]) -> None:
    raw = Output("x", "BYTES", (len(elements),), elements).raw()
    assert unpack_elements(memoryview(raw), len(elements), "x") == elements


def test_json_is_json_and_bytes_follow_it() -> None:
    data = np.array([[0.5]], np.float32)
    output = Output("x", "FP32", (1, 1), data)
    body, headers = write_response(InferResponse("toy", "1", "", False, [(output, False)]))
    assert headers == ((b"content-type", b"application/json"),)
    assert orjson.loads(body)["outputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}]
    body, headers = write_response(InferResponse("toy", "1", "", False, [(output, True)]))
    told = dict(headers)
    assert told[b"content-type"] == b"application/octet-stream"
    assert body[int(told[b"inference-header-content-length"]) :] == data.tobytes()
