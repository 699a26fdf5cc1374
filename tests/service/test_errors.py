"""Bad input: each kind is refused with a problem that says what was expected, and harms nobody after it."""

import base64
import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from starlette.exceptions import HTTPException

from runtime.errors import EmpirError
from service import openapi
from service.errors import STATUS, answer_for
from tests.live import Live, problem_of
from tests.toy_catalog import DOT

PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
FILE = ("x.png", DOT, "image/png")


def enormous() -> bytes:
    """A picture of 30 megapixels in a few kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (6000, 5000)).save(buffer, "PNG", optimize=True)
    assert len(buffer.getvalue()) < 10_000
    return buffer.getvalue()


def part(head: str, body: bytes = b"x") -> bytes:
    """One part of a form whose boundary is `b`."""
    return f"--b\r\nContent-Disposition: form-data{head}\r\n\r\n".encode() + body + b"\r\n"


GOOD_PART = part('; name="file"; filename="x.png"', DOT)


@dataclass(frozen=True)
class Bad:
    """A request, which httpx sends with these arguments, and how it is refused."""

    id: str
    status: int
    code: str
    says: str
    """A part of the detail."""
    request: dict[str, Any] = field(default_factory=dict)
    query: str = ""
    path: str = "/predict"


def probe(parameter: str, value: str, says: str) -> Bad:
    """A parameter of a probe out of its range or list."""
    query, path = f"{parameter}={value}", "/robustness-probe"
    return Bad(f"probe, {query}", 422, "invalid_value", says, {"content": DOT, "headers": PNG}, query, path)


def document(name: str, body: bytes | str, says: str) -> Bad:
    """A JSON body that is not what it should be."""
    return Bad(f"JSON, {name}", 400, "malformed", says, {"content": body, "headers": JSON})


def form(name: str, says: str, **request: Any) -> Bad:
    """A form that is not what it should be."""
    return Bad(f"form, {name}", 400, "malformed", says, request)


SEVEN = base64.b64decode(openapi.SEVEN)
IMAGE = base64.b64encode(DOT).decode()
BAD = [
    Bad("empty", 400, "malformed", "expected an encoded picture", {"content": b"", "headers": PNG}),
    Bad("truncated", 415, "not_an_image", "cut off", {"content": SEVEN[:-30], "headers": PNG}),
    Bad("text", 415, "not_an_image", "expected PNG, JPEG", {"content": b"hello", "headers": PNG}),
    Bad("no image's type", 415, "not_an_image", "expected multipart/form-data, image/*", {"data": {"image": IMAGE}}),
    Bad("30 megapixels", 413, "image_too_large", "25,000,000 pixels", {"content": enormous(), "headers": PNG}),
    Bad("over 10 MB", 413, "body_too_large", "10,000,000 bytes", {"content": bytes(10_000_001), "headers": PNG}),
    Bad(
        "over 10 MB in chunks",
        413,
        "body_too_large",
        "10,000,000 bytes",
        {"content": [bytes(500_000)] * 21, "headers": PNG},
    ),
    form("two files", "exactly one file", files=[("file", FILE), ("file", FILE)]),
    form("three files", "exactly one file", files=[("file", FILE)] * 3),
    form("no file", "a field of any name (`file`), got 0", files={"note": (None, "x")}),
    form("without an end", "expected a closing boundary", content=GOOD_PART, headers=FORM),
    form("empty file", "expected an encoded picture", files={"file": ("x.png", b"")}),
    form("without a name", '"name" must be provided', content=GOOD_PART + part("") + b"--b--\r\n", headers=FORM),
    form("empty name", "a name for every field", content=GOOD_PART + part('; name=""') + b"--b--\r\n", headers=FORM),
    form("21 fields", "Maximum number of fields is 20", files={"file": FILE}, data={f"f{i}": "x" for i in range(21)}),
    form("long field", "maximum size of 1KB", files={"file": FILE}, data={"note": 1025 * "x"}),
    form("no boundary", "boundary", content=GOOD_PART, headers={"Content-Type": "multipart/form-data"}),
    form("garbage", "multipart: Invalid multipart data", content=b"garbage", headers=FORM),
    document("empty", b"", 'expected {"image": "<base64>"}'),
    document("garbage", b"{", 'expected {"image": "<base64>"}'),
    document("not UTF-8", b'{"image": "\xff"}', 'expected {"image": "<base64>"}'),
    document("a key twice", f'{{"image": "{IMAGE}", "image": "{IMAGE}"}}', "stands there twice"),
    document("101 levels", f'{{"image": "{IMAGE}", "a": {100 * "["}{100 * "]"}}}', "at most 100 levels"),
    document("100,000 levels", 100_000 * "[" + 100_000 * "]", "JSON: expected"),
    document("no object", f'["{IMAGE}"]', 'expected {"image": "<base64>"}'),
    document("no image", "{}", 'expected {"image": "<base64>"}'),
    document("image a number", '{"image": 7}', 'expected {"image": "<base64>"}'),
    document("not base64", '{"image": "%"}', "image: expected base64"),
    document("not ASCII", '{"image": "\u00e9\\ud800"}', "image: expected base64"),
    document("empty image", '{"image": ""}', "expected an encoded picture"),
    Bad("JSON, text for an image", 415, "not_an_image", "expected PNG", {"json": {"image": "aGVsbG8="}}),
    Bad("bundle", 404, "unknown_bundle", "expected toy, got 'no'", {"content": DOT, "headers": PNG}, "bundle=no"),
    Bad("mode", 422, "invalid_value", "full or quorum", {"content": DOT, "headers": PNG}, "mode=fast"),
    Bad(
        "unknown parameter",
        422,
        "invalid_value",
        "query: expected mode, bundle, got",
        {"content": DOT, "headers": PNG},
        "moed=full",
    ),
    Bad("mode empty", 422, "invalid_value", "full or quorum", {"content": DOT, "headers": PNG}, "mode="),
    Bad(
        "path",
        404,
        "not_found",
        "nothing here; /docs lists what there is",
        {"content": DOT, "headers": PNG},
        path="/predikt",
    ),
    Bad("probe, empty", 400, "malformed", "expected an encoded picture", {"headers": PNG}, path="/robustness-probe"),
    Bad("probe, text", 415, "not_an_image", "PNG", {"content": b"hello", "headers": PNG}, path="/robustness-probe"),
    Bad("probe, bundle", 404, "unknown_bundle", "expected toy", {}, "bundle=no", "/robustness-probe"),
    probe("attack", "magic", "attack: expected fgsm or bim or mim or pgd or apgd"),
    probe("attack", "cw-l2", "norm: expected l2 for cw-l2, got 'linf'"),
    probe("norm", "l7", "norm: expected linf or l2"),
    probe("eps", "NaN", "eps: expected a number above 0 and up to 1"),
    probe("eps", "-1", "eps: expected a number above 0"),
    probe("eps", "0", "eps: expected a number above 0"),
    probe("eps", "1e9", "eps: expected a number above 0 and up to 1"),
    probe("eps", "8/0", "eps: expected a number above 0"),
    probe("eps", "1/2/3", "or a fraction like 8/255"),
    probe("eps", "", "or a fraction like 8/255"),
    probe("steps", "1000000000", "steps: expected 1 to 1000"),
    probe("steps", "0", "steps: expected 1 to 1000"),
    probe("steps", "many", "steps: expected a whole number"),
    probe("step_size", "0", "step_size: expected a number above 0"),
    probe("step_size", "inf", "step_size: expected a number above 0"),
    probe("restarts", "21", "restarts: expected 1 to 20"),
    probe("label", "4", "label: expected 0 to 3"),
    probe("label", "-1", "label: expected 0 to 3"),
    probe("label", "7" * 5000, "label: "),
    probe("target", "4", "target: expected 0 to 3"),
    probe("seed", "-1", "seed: expected 0"),
    probe("seed", str(2**63), "seed: expected 0"),
    probe("budget_ms", "30001", "budget_ms: expected 1 to 30000"),
    probe("attack", "fgsm&steps=2", "fgsm takes one step"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_bad_input_is_refused_and_the_next_good_request_is_answered(server: Live, picture: bytes, bad: Bad) -> None:
    response = server.http.post(f"{bad.path}?{bad.query}", **bad.request)
    problem = problem_of(response)
    assert (response.status_code, problem["code"]) == (bad.status, bad.code)
    assert bad.says in problem["detail"]
    assert len(response.content) < 1024
    assert server.predict(picture).status_code == 200


def test_a_wrong_method_is_told_the_right_one(server: Live) -> None:
    response = server.http.get("/predict")
    assert (response.status_code, problem_of(response)["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


IMAGES = st.binary(max_size=60) | st.builds(
    lambda at, junk: DOT[:at] + junk + DOT[at + len(junk) :], st.integers(0, len(DOT)), st.binary(max_size=8)
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=9)
    | IMAGES.map(lambda data: base64.b64encode(data).decode()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.just("image") | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
HEADS = st.sampled_from(
    ['; name="file"; filename="x"', '; name="a"', "", '; name="file"; filename', "; name=file; filename*=UTF-8''%ff"]
) | st.text("; =\"'*%abfilename\u00e9", max_size=20)
FORMS = st.lists(st.builds(part, HEADS, IMAGES), max_size=3).map(b"".join)
ENDS = st.sampled_from([b"--b--\r\n", b"--b--", b"--b", b""])
BODIES = IMAGES | VALUES.map(lambda value: json.dumps(value).encode()) | st.builds(lambda a, b: a + b, FORMS, ENDS)
TYPES = st.sampled_from(
    [
        *("", "image/png", "image/", "application/json", "application/json; charset=nonsense", "text/plain"),
        *("multipart/form-data; boundary=b", 'multipart/form-data; boundary="b"; charset=nonsense'),
        *("multipart/form-data; boundary=", "multipart/form-data;boundary=\xe9", "application/x-www-form-urlencoded"),
    ]
) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)


@hypothesis_settings(max_examples=300)
@given(kind=TYPES, body=BODIES, path=st.sampled_from(["/predict", "/robustness-probe?steps=1&eps=1e-9"]))
def test_no_body_and_no_content_type_is_the_servers_failure(server: Live, kind: str, body: bytes, path: str) -> None:
    response = server.http.post(path, content=body, headers={b"Content-Type": kind.encode("latin-1")})
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert problem_of(response)["code"] in STATUS


def test_what_is_unforeseen_is_500_and_gives_nothing_away() -> None:
    answer = answer_for(KeyError("secret"), "id")
    assert answer.status_code == 500
    assert b"secret" not in answer.body


def test_every_code_of_the_exception_tree_has_a_status() -> None:
    def below(kind: type[EmpirError]) -> set[type[EmpirError]]:
        return {kind, *(deeper for each in kind.__subclasses__() for deeper in below(each))}

    codes = {kind.code for kind in below(EmpirError) if kind.__module__.split(".")[0] in ("runtime", "service")}
    assert codes - STATUS.keys() == {"internal", "bad_bundle"}  # the server's own failures
    assert answer_for(HTTPException(418), "id").status_code == 418
