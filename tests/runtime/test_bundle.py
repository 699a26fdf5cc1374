"""Bundles on disk: what is refused, and how the refusal says why."""

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from runtime.bundle import MANIFEST, load_bundle, read_manifest
from runtime.errors import BundleError
from tests.toy_bundle import ToyBundle

FILE, GRADIENT = "fp32.onnx", "fp32.gradient.onnx"


def replace(folder: Path, file: str, data: bytes) -> None:
    """Put `data` in place of a file, and its sum into the manifest."""
    (folder / file).write_bytes(data)
    key = "gradient_" if file == GRADIENT else ""
    edit_manifest(folder, lambda m: m["members"][2].update({f"{key}sha256": sha256(data).hexdigest()}))


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    edit(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_sound_bundle_holds_the_bytes_of_its_graphs(toy: ToyBundle) -> None:
    for gradients in (False, True):
        bundle = load_bundle(toy.folder, gradients=gradients)
        names = [f"{m.name}{suffix}" for m in toy.manifest.members for suffix in (".onnx", ".gradient.onnx")]
        wanted = names if gradients else names[::2]
        assert bundle.graphs == {name: (toy.folder / name).read_bytes() for name in wanted}
        assert bundle.manifest == toy.manifest


@pytest.mark.parametrize("file", [FILE, GRADIENT])
@pytest.mark.parametrize("gradients", [False, True])
def test_a_flipped_bit_is_refused_with_both_sums(toy_copy: Path, file: str, gradients: bool) -> None:
    data = bytearray((toy_copy / file).read_bytes())
    before = sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    (toy_copy / file).write_bytes(data)
    with pytest.raises(BundleError) as refusal:
        load_bundle(toy_copy, gradients=gradients)
    message = str(refusal.value)
    assert all(part in message for part in (f"{toy_copy / file}: ", "members[2]", before, sha256(data).hexdigest()))


def link_outside(path: Path) -> None:
    path.rename(path.parent.parent / "outside.onnx")
    path.symlink_to(path.parent.parent / "outside.onnx")


def link_inside(path: Path) -> None:
    path.rename(path.with_name("other.onnx"))
    path.symlink_to("other.onnx")


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (Path.unlink, "cannot be read: No such file"),
        (link_outside, "got a link to"),
        (link_inside, "got a link to"),
        (link_to_itself, "got a link to"),
        (pipe, "expected a plain file"),
        (folder, "expected a plain file"),
    ],
)
def test_not_a_plain_file(toy_copy: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(toy_copy / FILE)
    with pytest.raises(BundleError) as refusal:
        load_bundle(toy_copy)
    assert str(refusal.value).startswith(f"{toy_copy / FILE}: ") and says in str(refusal.value)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (None, "expected a bundle's manifest, got"),
        (b"\xff\xfe", "expected a bundle's manifest, got"),
        (b"[]", "the whole: "),
        (b'{"schema_version": 1', "the whole: expected JSON ("),
        (b'{"schema_version": 1, "colour": NaN}', "bundle.json: "),
    ],
    ids=["missing", "not text", "a list", "cut off", "incomplete"],
)
def test_not_a_manifest(toy_copy: Path, manifest: bytes | None, says: str) -> None:
    (toy_copy / MANIFEST).unlink()
    if manifest is not None:
        (toy_copy / MANIFEST).write_bytes(manifest)
    with pytest.raises(BundleError) as refusal:
        read_manifest(toy_copy)
    assert str(refusal.value).startswith(f"{toy_copy / MANIFEST}: ") and says in str(refusal.value)


def test_a_manifests_error_names_the_field(toy_copy: Path) -> None:
    edit_manifest(toy_copy, lambda m: m["members"][1].update(temperature=float("nan")))
    with pytest.raises(BundleError, match=r"bundle.json: members.1.temperature: expected a finite number"):
        load_bundle(toy_copy)


def test_the_name_is_the_folders(toy_copy: Path) -> None:
    edit_manifest(toy_copy, lambda m: m.update(name="another"))
    with pytest.raises(BundleError, match=r"name is 'another', but the folder is 'toy'"):
        load_bundle(toy_copy)


def test_a_bundle_may_lie_behind_a_link(toy: ToyBundle, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(toy.folder)
    assert load_bundle(tmp_path / "current").manifest.name == "toy"


def wire(number: int, payload: bytes, tag: bytes | None = None, length_padding: int = 0) -> bytes:
    """A length-delimited protobuf field; `tag` is another spelling of its tag, padding writes its length overlong."""
    length = len(payload)
    digits = [length & 127] if length < 128 else [length & 127, length >> 7]
    digits += [0] * length_padding
    spelled = bytes([digit | 128 for digit in digits[:-1]] + [digits[-1]])
    return (tag or bytes([number << 3 | 2])) + spelled + payload


def graph_with_external_weights(tag: bytes, length_padding: int) -> bytes:
    """image [N, 4] + weights from the file `secret.bin` = logits [N, 4]."""
    entry = wire(1, b"location", tag, length_padding) + wire(2, b"secret.bin")
    weights = b"\x08\x04" + b"\x10\x01" + wire(8, b"weights") + wire(13, entry) + b"\x70\x01"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("image", "logits")]
    node = helper.make_node("Add", ["image", "weights"], ["logits"])
    graph = b"".join(
        wire(number, part)
        for number, part in (
            (1, node.SerializeToString()),
            (2, b"graph"),
            (5, weights),
            (11, values[0].SerializeToString()),
            (12, values[1].SerializeToString()),
        )
    )
    return b"\x08\x0a" + wire(7, graph) + wire(8, helper.make_opsetid("", 21).SerializeToString())


@pytest.mark.parametrize("length_padding", [0, 1, 4])
@pytest.mark.parametrize(
    "tag",
    [b"\x0a", b"\x8a\x00", b"\x8a\x80\x80\x80\x00", b"\x8a\x80\x80\x80\x10", b"\x8a\x80\x80\x80\x70"],
    ids=bytes.hex,
)
def test_weights_outside_are_refused_however_onnx_runtime_reads_them(
    toy_copy: Path, monkeypatch: pytest.MonkeyPatch, tag: bytes, length_padding: int
) -> None:
    graph = graph_with_external_weights(tag, length_padding)
    secret = np.array([[4, 8, 15, 16]], dtype=np.float32)
    (toy_copy / "secret.bin").write_bytes(secret.tobytes())
    monkeypatch.chdir(toy_copy)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"image": np.zeros((1, 4), np.float32)})[0], secret)

    replace(toy_copy, FILE, graph)
    with pytest.raises(BundleError, match=r"fp32.onnx: refers to external data"):
        load_bundle(toy_copy)
