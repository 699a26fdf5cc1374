"""What is sent: the bodies, as a server reads them."""

import base64
import io
import json
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from loadtest.oip import Model, model_at
from loadtest.pictures import open_pictures, tensor
from loadtest.recording import PROBE
from loadtest.target import Target
from loadtest.workload import workload
from tests.loadtest.toy_server import Reply, Seen, answer, toy

METADATA = {"name": "m", "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 4, 6]}], "outputs": []}


def protocol(_: int, request: Seen) -> Reply:
    """A server of the protocol that has one model, m, the default bundle."""
    found = {"/bundles": {"default": "m"}, "/v2/models/m": METADATA}.get(request.path)
    return answer(404, b"{}") if found is None else answer(body=json.dumps(found).encode())


def split(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Target, headers and body, checked."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first.startswith("POST ") and first.endswith(" HTTP/1.1") and headers["Host"]
    assert int(headers["Content-Length"]) == len(body)
    return first.split()[1], headers, body


def pictures() -> list[Image.Image]:
    return open_pictures(())


@pytest.mark.parametrize(("body", "form"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_images_go_out_as_files(body: str, form: str) -> None:
    target = Target.read(f"http://h:1#{body}", "png")
    work = workload(target, pictures(), "quorum", "b")
    assert len(work.predictions) == 10
    for request, picture in zip(work.predictions, pictures(), strict=True):
        path, headers, data = split(request)
        assert headers["Content-Type"] == f"image/{body}"
        assert (urlsplit(path).path, parse_qs(urlsplit(path).query)) == (
            "/predict",
            {"mode": ["quorum"], "bundle": ["b"]},
        )
        with Image.open(io.BytesIO(data)) as sent:
            assert (sent.format, sent.size, sent.mode) == (form, picture.size, picture.mode)
            difference = np.abs(np.asarray(sent, np.int16) - np.asarray(picture, np.int16))
        assert difference.max() <= (0 if form == "PNG" else 30)


def test_json_and_raw_bodies() -> None:
    path, headers, data = split(workload(Target.read("http://h:1/x?a=1#json", "png"), pictures()).predictions[7])
    assert (path, headers["Content-Type"]) == ("/x?a=1", "application/json")
    with Image.open(io.BytesIO(base64.b64decode(json.loads(data)["image"]))) as sent:
        assert sent.size == (28, 28)
    _, _, data = split(workload(Target.read("http://h:1#raw", "png"), pictures()).predictions[7])
    assert np.array_equal(np.frombuffer(data, "<f4").reshape(1, 1, 28, 28), tensor(pictures()[7], (1, 28, 28)))


def test_bodies_of_the_protocol_have_the_shape_that_the_model_tells() -> None:
    with toy(protocol) as server:
        assert model_at(server.url, None) == Model("m", (3, 4, 6))
        binary = workload(Target.read(server.url, "oip-binary"), pictures(), "quorum").predictions[3]
        plain = workload(Target.read(server.url, "oip-json"), pictures(), "quorum", "m").predictions[3]
    expected = tensor(pictures()[3], (3, 4, 6))
    path, headers, data = split(binary)
    length = int(headers["Inference-Header-Content-Length"])
    head, rest = json.loads(data[:length]), data[length:]
    assert path == "/v2/models/m/infer"
    assert head["parameters"] == {"binary_data_output": True, "mode": "quorum"}
    (entry,) = head["inputs"]
    assert entry == {"name": "image", "shape": [1, 3, 4, 6], "datatype": "FP32",
                     "parameters": {"binary_data_size": len(rest)}}  # fmt: skip
    assert np.array_equal(np.frombuffer(rest, "<f4").reshape(expected.shape), expected)
    _, headers, data = split(plain)
    assert headers["Content-Type"] == "application/json" and json.loads(data)["parameters"] == {"mode": "quorum"}
    assert np.array_equal(np.float32(json.loads(data)["inputs"][0]["data"]).reshape(expected.shape), expected)


@pytest.mark.parametrize("body", ["png", "oip-binary", "oip-json"])
def test_a_mode_in_the_url_goes_before_the_option(body: str) -> None:
    with toy(protocol) as server:
        target = Target.read(f"{server.url}?mode=quorum#{body}", "png")
        path, _, data = split(workload(target, pictures(), "full", "m").predictions[0])
    said = path if body == "png" else data.decode(errors="replace")
    assert "quorum" in said and "full" not in said


def test_a_model_that_is_not_there_or_takes_no_images_is_said() -> None:
    with toy(protocol) as server, pytest.raises(ValueError, match="/v2/models/n: expected 200, got 404"):
        model_at(server.url, "n")
    numbers = answer(body=b'{"inputs": [{"name": "x", "shape": [-1, 7]}]}')
    expected = r"expected an input of shape \[-1, C, H, W\], got \[-1, 7\]"
    with toy(lambda *_: numbers) as server, pytest.raises(ValueError, match=expected):
        model_at(server.url, "n")
    with toy(lambda *_: answer(404)) as server, pytest.raises(ValueError, match="--bundle"):
        model_at(server.url, None)


def test_probes_have_their_share_and_their_seed() -> None:
    work = workload(Target.read("http://h:1", "png"), pictures(), "full", "b", probes=0.1)
    taken = [request for _, request in zip(range(5000), work.stream(0), strict=False)]
    kinds = Counter(kind for kind, _ in taken)
    assert kinds[PROBE] == pytest.approx(500, rel=0.2)
    assert split(next(body for kind, body in taken if kind == PROBE))[0] == "/robustness-probe?bundle=b"
    assert taken == [request for _, request in zip(range(5000), work.stream(0), strict=False)]
    assert taken != [request for _, request in zip(range(5000), work.stream(1), strict=False)]


def test_a_tensor_is_the_picture_in_order() -> None:
    colour = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    assert np.allclose(tensor(colour, (3, 2, 4))[0] * 255, np.arange(24).reshape(2, 4, 3).transpose(2, 0, 1))


@pytest.mark.parametrize("text", ["https://h", "h:1", "ftp://h", "http://h#gif", "http://"])
def test_a_url_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="URL: expected"):
        Target.read(text, "png")


def test_targets_have_names_and_bodies_of_their_own() -> None:
    found = Target.read("mine=http://h:1/predict?mode=quorum#oip-json", "png")
    assert (found.name, found.base, found.body) == ("mine", "http://h:1", "oip-json")
    found = Target.read("http://h:1/predict?mode=quorum", "jpeg")
    assert (found.name, found.body) == ("http://h:1/predict?mode=quorum", "jpeg")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "not.png"
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"expected a picture, got .*not\.png"):
        open_pictures([path])
