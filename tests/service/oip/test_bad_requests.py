"""Wrong requests: each is refused with a sentence that names the field."""

from dataclasses import dataclass, field

import numpy as np
import orjson
import pytest

from runtime.errors import EmpirError, InvalidValue
from service.errors import MalformedRequest
from tests.service.oip.bodies import Document, binary, document, elements, fp32
from tests.service.oip.reading import IMAGES, SHAPE, read, read_binary, read_document


@dataclass(frozen=True)
class Bad:
    """A request that is refused, and what is said of it."""

    id: str
    says: str
    request: Document = field(default_factory=dict)
    """Fields of the input, instead of the right ones."""
    top: Document = field(default_factory=dict)
    """Fields of the request."""
    kind: type[EmpirError] = MalformedRequest


HUGE = 2**63


def output(**parameters: object) -> Document:
    """A request's fields that ask for one output with these parameters."""
    return {"outputs": [{"name": "label", "parameters": parameters}]}


BAD = [
    Bad("another datatype", r"inputs\[0\].datatype: expected FP32, UINT8 or BYTES, got 'FP64'", {"datatype": "FP64"}),
    Bad("no datatype", r"inputs\[0\].datatype: expected a string, got none", {"datatype": None}),
    Bad("another name", r"inputs\[0\].name: expected 'image', got 'pixels'", {"name": "pixels"}),
    Bad("rank 3", r"inputs\[0\].shape: expected \[N, 1, 2, 3\], got \[1, 2, 3\]", {"shape": [1, 2, 3]}),
    Bad("rank 0", r"inputs\[0\].shape: expected \[N, 1, 2, 3\], got \[\]", {"shape": []}),
    Bad("another size", r"expected \[N, 1, 2, 3\], got \[2, 1, 3, 2\]", {"shape": [2, 1, 3, 2]}),
    Bad("batch 0", r"of 1 to 4 images, got \[0, 1, 2, 3\]", {"shape": [0, 1, 2, 3], "data": []}),
    Bad("a negative dimension", r"of 1 to 4 images, got \[-2, 1, 2, 3\]", {"shape": [-2, 1, 2, 3]}),
    Bad("too many images", r"of 1 to 4 images, got \[5, 1, 2, 3\]", {"shape": [5, 1, 2, 3], "data": [0] * 30}),
    Bad("absurd dimensions", r"of 1 to 4 images", {"shape": [HUGE, 1, 2, 3]}),
    Bad("a rank of thousands", r"\.\.\. of rank 5000", {"shape": [1] * 5000}),
    Bad("a fractional dimension", r"inputs\[0\].shape: expected a list of whole numbers", {"shape": [2.0, 1, 2, 3]}),
    Bad("a boolean dimension", r"inputs\[0\].shape: expected a list of whole numbers", {"shape": [True, 1, 2, 3]}),
    Bad("no shape", r"inputs\[0\].shape: expected a list of whole numbers", {"shape": None}),
    Bad(
        "too few numbers",
        r"inputs\[0\].data: expected 2 x 1 x 2 x 3 numbers, nested or flat, got 11",
        {"data": [0] * 11},
    ),
    Bad("more rows than the shape has", r"expected 2 x 1 x 2 x 3 numbers.* got 3 rows", {"data": [[0]] * 3}),
    Bad("more rows than there can be", r"JSON: expected at most [\d,]+ lists and objects", {"data": [[0]] * 9999}),
    Bad("rows of two lengths", r"inputs\[0\].data: expected rows of one length", {"data": [[0] * 6, [0] * 5]}),
    Bad("rows and numbers", r"inputs\[0\].data: expected rows of one length", {"data": [[0] * 6, 0]}),
    Bad("another nesting", r"inputs\[0\].data: expected 2 x 1 x 2 x 3 numbers.* got 2 x 6", {"data": [[0] * 6] * 2}),
    Bad("numbers as strings", r"inputs\[0\].data: expected numbers, got others among them", {"data": ["0"] * 12}),
    Bad("a null among numbers", r"inputs\[0\].data: expected numbers, got others among them", {"data": [None] * 12}),
    Bad("a boolean among numbers", r"inputs\[0\].data: expected numbers", {"data": [True] + [0] * 11}),
    Bad("pixels to 255", r"expected pixels in \[0, 1\], got 255 at \[1, 0, 1, 2\]", {"data": [0] * 11 + [255]}),
    Bad("pixels below 0", r"expected pixels in \[0, 1\], got -1 at \[0, 0, 0, 0\]", {"data": [-1] + [0] * 11}),
    Bad("numbers beyond float32", r"expected pixels in \[0, 1\], got 1e\+300", {"data": [1e300] + [0] * 11}),
    Bad("no data", r"inputs\[0\].data: expected a list, or binary_data_size", {"data": None}),
    Bad("data that is a number", r"inputs\[0\].data: expected a list", {"data": 7}),
    Bad("levels beyond 255", r"expected UINT8, whole numbers from 0 to 255", {"datatype": "UINT8", "data": [256] * 12}),
    Bad("levels that are fractions", r"expected whole numbers", {"datatype": "UINT8", "data": [0.5] * 12}),
    Bad("pictures of rank 4", r"expected \[N\] or \[N, 1\], got \[2, 1, 2, 3\]", {"datatype": "BYTES"}),
    Bad("pictures of 2 columns", r"expected \[N\] or \[N, 1\], got \[1, 2\]", {"datatype": "BYTES", "shape": [1, 2]}),
    Bad("too few pictures", r"expected 2 elements, got 1", {"datatype": "BYTES", "shape": [2], "data": ["YQ=="]}),
    Bad("no base64", r"inputs\[0\].data\[0\]: expected base64", {"datatype": "BYTES", "shape": [1], "data": ["?"]}),
    Bad("no string", r"inputs\[0\].data\[0\]: expected base64", {"datatype": "BYTES", "shape": [1], "data": [7]}),
    Bad(
        "a size without the header",
        r"binary_data_size: expected the header",
        {"data": None, "parameters": {"binary_data_size": 48}},
    ),
    Bad("shared memory", r"shared_memory_region: expected none", {"parameters": {"shared_memory_region": "x"}}),
    Bad("parameters of an input", r"inputs\[0\].parameters: expected an object", {"parameters": []}),
    Bad("no inputs", r"inputs: expected exactly one, 'image', got 0 \(none\)", top={"inputs": []}),
    Bad("inputs left out", r"inputs: expected exactly one", top={"inputs": None}),
    Bad("inputs that are no list", r"inputs: expected a list of objects", top={"inputs": {"name": "image"}}),
    Bad("an input that is none", r"inputs: expected a list of objects", top={"inputs": [7]}),
    Bad(
        "an unknown output",
        r"outputs\[1\].name: expected label, .*, got 'probs'",
        top={"outputs": [{"name": "label"}, {"name": "probs"}]},
    ),
    Bad("an output twice", r"outputs\[1\].name: 'label' is asked for twice", top={"outputs": [{"name": "label"}] * 2}),
    Bad("an output without a name", r"outputs\[0\].name: expected a string", top={"outputs": [{}]}),
    Bad(
        "classification",
        r"outputs\[0\].parameters.classification",
        top=output(classification=3),
    ),
    Bad(
        "binary_data as a word",
        r"outputs\[0\].parameters.binary_data: expected true or false",
        top={"outputs": [{"name": "label", "parameters": {"binary_data": "yes"}}]},
    ),
    Bad("an id that is a number", r"id: expected a string", top={"id": 7}),
    Bad("parameters that are a list", r"parameters: expected an object", top={"parameters": [1]}),
    Bad(
        "another mode",
        r"parameters.mode: expected full or quorum, got 'all'",
        top={"parameters": {"mode": "all"}},
        kind=InvalidValue,
    ),
    Bad(
        "a mode that is a list",
        r"parameters.mode: expected full or quorum",
        top={"parameters": {"mode": []}},
        kind=InvalidValue,
    ),
    Bad(
        "all outputs as a word",
        r"parameters.binary_data_output: expected true or false",
        top={"parameters": {"binary_data_output": 1}},
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_a_wrong_request_is_refused_with_the_name_of_the_field(bad: Bad) -> None:
    with pytest.raises(bad.kind, match=bad.says):
        read_document({**document(IMAGES, **bad.request), **bad.top})


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (255.0, "255"), (1.001, "1.001")]
)
def test_numbers_that_are_no_pixels_are_refused_in_bytes_too(value: float, said: str) -> None:
    images = IMAGES.copy()
    images[1, 0, 0, 2] = value
    with pytest.raises(MalformedRequest, match=rf"expected pixels in \[0, 1\], got {said} at \[1, 0, 0, 2\]"):
        read_binary(*fp32(images))


RAW = IMAGES.tobytes()
ENTRY: Document = {"name": "image", "shape": [2, *SHAPE], "datatype": "FP32"}
PICTURES: Document = {"name": "image", "shape": [2], "datatype": "BYTES"}


@pytest.mark.parametrize(
    ("entry", "size", "raw", "says"),
    [
        (ENTRY, 47, RAW[:-1], r"inputs\[0\]: expected 48 bytes for FP32 \[2, 1, 2, 3\], got 47"),
        (ENTRY, 52, RAW + b"1234", r"inputs\[0\]: expected 48 bytes .*, got 52"),
        (ENTRY, 48, RAW + b"1", r"binary_data_size adds up to 48 bytes, 49 follow the JSON"),
        (ENTRY, 48, RAW[:-1], r"binary_data_size: expected 0 to 47, the bytes that are left, got 48"),
        (ENTRY, -1, RAW, r"binary_data_size: expected 0 to 48"),
        (ENTRY, 2**70, RAW, r"binary_data_size: expected 0 to 48"),
        (ENTRY, True, RAW, r"binary_data_size: expected 0 to 48"),
        (ENTRY, "48", RAW, r"binary_data_size: expected 0 to 48, .*, got '48'"),
        ({**ENTRY, "data": [0] * 12}, 48, RAW, r"binary_data_size: expected either this or data, got both"),
        (PICTURES, 9, elements(b"hello"), r"inputs\[0\]: expected 2 elements, got bytes for 1"),
        (PICTURES, 15, elements(b"a", b"b", b"c"), r"inputs\[0\]: expected 2 elements, got 5 bytes beyond them"),
        (PICTURES, 8, b"\xff\xff\xff\xff1234", r"element 0 says it has 4,294,967,295 bytes, 4 are left"),
    ],
    ids=[
        *(
            "a byte short",
            "a number more",
            "bytes that nobody owns",
            "more than there is",
            "negative",
            "beyond 64 bits",
        ),
        *("a boolean", "a word", "data too", "a picture short", "a picture more", "an endless picture"),
    ],
)
def test_binary_sizes_that_do_not_add_up_are_refused(entry: Document, size: object, raw: bytes, says: str) -> None:
    head = str({}).encode() if size == 2**70 else None  # beyond what orjson writes
    body, headers = binary({"inputs": [{**entry, "parameters": {"binary_data_size": 0 if head else size}}]}, raw)
    if head:
        body = body.replace(b'size":0', b'size":%d' % 2**70)
        headers = {"Inference-Header-Content-Length": str(len(body) - len(raw))}
    with pytest.raises(MalformedRequest, match=says):
        read_binary(body, headers)


@pytest.mark.parametrize("length", ["-1", "1e2", "", " 7", "٣", "9" * 30, "100000", "0x10"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(MalformedRequest, match="Inference-Header-Content-Length: expected 0 to"):
        read(orjson.dumps(document(IMAGES)), length)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON: expected an inference request"),
        (b"[]", "JSON: expected an inference request, an object"),
        (b"{", "JSON: expected an inference request"),
        (b'{"id": NaN}', "JSON: expected an inference request"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "JSON: expected at most 100 levels"),
        (b"[" * 100_000, r"JSON: expected at most [\d,]+ lists and objects"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(MalformedRequest, match=says):
        read(body)
