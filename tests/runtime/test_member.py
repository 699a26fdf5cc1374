"""Members and gradient graphs in their sessions: what they answer, and which graphs they refuse."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from runtime import manifest
from runtime.bundle import Bundle, load_bundle
from runtime.errors import BundleError
from runtime.gradients import GradientGraph, load_gradients
from runtime.member import Member
from tests.toy_bundle import ToyBundle

Value = tuple[str, int, Sequence[int | str]]
"""Name, type and shape."""

IMAGE: Value = ("image", TensorProto.FLOAT, ["N", 1, 8, 8])
COTANGENT: Value = ("cotangent", TensorProto.FLOAT, ["N", 4])
LOGITS: Value = ("logits", TensorProto.FLOAT, ["N", 4])
GRADIENT: Value = ("gradient", TensorProto.FLOAT, ["N", 1, 8, 8])


@pytest.fixture(scope="module")
def bundle(toy: ToyBundle) -> Bundle:
    return load_bundle(toy.folder, gradients=True)


def graph(inputs: Sequence[Value], outputs: Sequence[Value]) -> bytes:
    """A graph whose every output is zeros, whatever comes in; a free batch is as large as the first input's."""
    nodes, constants = [helper.make_node("Shape", [inputs[0][0]], ["N"], end=1)], []
    for name, dtype, shape in outputs:
        zero = helper.make_tensor("zero", dtype, [1], [0])
        sizes = np.array([axis for axis in shape if axis != "N"], dtype=np.int64)
        constants.append(numpy_helper.from_array(sizes, f"{name}_sizes"))
        nodes += [
            helper.make_node("Concat", (["N"] if "N" in shape else []) + [f"{name}_sizes"], [f"{name}_shape"], axis=0),
            helper.make_node("ConstantOfShape", [f"{name}_shape"], [name], value=zero),
        ]
    there, back = ([helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs))
    zeros = helper.make_graph(nodes, "zeros", there, back, constants)
    model = helper.make_model(zeros, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def in_onnx_runtimes_own_format(graph: bytes, scratch: Path) -> bytes:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(scratch / "graph.ort")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return (scratch / "graph.ort").read_bytes()


def spoilt(bundle: Bundle, file: str, data: bytes) -> Bundle:
    return Bundle(bundle.folder, bundle.manifest, bundle.graphs | {file: data})


def test_logits_are_the_networks(toy: ToyBundle, bundle: Bundle) -> None:
    for network, entry in zip(toy.networks, bundle.manifest.members, strict=True):
        answer = Member(bundle, entry).answer(toy.images)
        with torch.no_grad():
            expected = network(torch.from_numpy(toy.images)).numpy()
        assert answer.logits is not None and answer.reason is None and answer.seconds > 0
        np.testing.assert_allclose(answer.logits, expected, atol=1e-4 * np.abs(expected).max())


def test_gradients_are_autograds(toy: ToyBundle, bundle: Bundle) -> None:
    cotangents = np.random.default_rng(0).standard_normal((len(toy.images), 4)).astype(np.float32)
    for network, graph in zip(toy.networks, load_gradients(bundle), strict=True):
        images = torch.from_numpy(toy.images).requires_grad_()
        logits = network(images)
        (expected,) = torch.autograd.grad(logits, images, torch.from_numpy(cotangents))
        found = graph.gradient(toy.images, cotangents)
        for values, wanted in zip(found, (logits.detach(), expected), strict=True):
            np.testing.assert_allclose(values, wanted.numpy(), atol=1e-4 * wanted.abs().max().item())


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 3, 8, 8), (8, 8)], ids=str)
def test_a_member_that_fails_says_why_and_does_not_raise(bundle: Bundle, shape: tuple[int, ...]) -> None:
    answer = Member(bundle, bundle.manifest.members[0]).answer(np.zeros(shape, np.float32))
    assert answer.logits is None and answer.reason == "error"
    assert "image" in answer.detail and "\n" not in answer.detail


def test_a_member_can_be_stopped(toy: ToyBundle, bundle: Bundle) -> None:
    options = ort.RunOptions()
    options.terminate = True
    answer = Member(bundle, bundle.manifest.members[0]).answer(toy.images, options)
    assert answer.logits is None and answer.reason == "error"


REFUSED_MEMBERS: dict[str, bytes] = {
    "empty": b"",
    "garbage": bytes(range(256)) * 8,
    "cut off": graph([IMAGE], [LOGITS])[:-20],
    "another input": graph([("input", TensorProto.FLOAT, IMAGE[2])], [LOGITS]),
    "two inputs": graph([IMAGE, COTANGENT], [LOGITS]),
    "another output": graph([IMAGE], [("probs", TensorProto.FLOAT, LOGITS[2])]),
    "two outputs": graph([IMAGE], [LOGITS, GRADIENT]),
    "another size": graph([("image", TensorProto.FLOAT, ["N", 1, 8, 9])], [LOGITS]),
    "another rank": graph([("image", TensorProto.FLOAT, ["N", 64])], [LOGITS]),
    "free size": graph([("image", TensorProto.FLOAT, ["N", 1, "H", "W"])], [LOGITS]),
    "fixed batch": graph([("image", TensorProto.FLOAT, [1, 1, 8, 8])], [LOGITS]),
    "fixed batch of logits": graph([IMAGE], [("logits", TensorProto.FLOAT, [1, 4])]),
    "another number of classes": graph([IMAGE], [("logits", TensorProto.FLOAT, ["N", 5])]),
    "double": graph([("image", TensorProto.DOUBLE, IMAGE[2])], [LOGITS]),
}


@pytest.mark.parametrize("data", REFUSED_MEMBERS.values(), ids=REFUSED_MEMBERS)
def test_member_graphs_that_are_refused(bundle: Bundle, data: bytes) -> None:
    entry = bundle.manifest.members[2]
    with pytest.raises(BundleError, match=r"toy/fp32.onnx: (ONNX Runtime cannot load it|expected inputs .* got )"):
        Member(spoilt(bundle, entry.file, data), entry)


def test_a_graph_in_onnx_runtimes_own_format_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """It may hide from the search for external data."""
    entry = bundle.manifest.members[2]
    data = in_onnx_runtimes_own_format(graph([IMAGE], [LOGITS]), tmp_path)
    with pytest.raises(BundleError, match=r"fp32.onnx: ONNX Runtime cannot load it"):
        Member(spoilt(bundle, entry.file, data), entry)


REFUSED_GRADIENTS: dict[str, bytes] = {
    "garbage": b"garbage",
    "inputs swapped": graph([COTANGENT, IMAGE], [LOGITS, GRADIENT]),
    "outputs swapped": graph([IMAGE, COTANGENT], [GRADIENT, LOGITS]),
    "a member graph": graph([IMAGE], [LOGITS]),
    "another gradient": graph([IMAGE, COTANGENT], [LOGITS, ("gradient", TensorProto.FLOAT, ["N", 1, 8, 9])]),
    "another cotangent": graph([IMAGE, ("cotangent", TensorProto.FLOAT, ["N", 5])], [LOGITS, GRADIENT]),
}


@pytest.mark.parametrize("data", REFUSED_GRADIENTS.values(), ids=REFUSED_GRADIENTS)
def test_gradient_graphs_that_are_refused(bundle: Bundle, data: bytes) -> None:
    with pytest.raises(BundleError, match=r"toy/fp32.gradient.onnx: "):
        load_gradients(spoilt(bundle, "fp32.gradient.onnx", data))


def without_gradient(entry: manifest.Member) -> manifest.Member:
    return entry.model_copy(update={"gradient_file": None, "gradient_sha256": None})


def test_a_bundle_without_gradients_cannot_be_attacked(toy: ToyBundle, bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"w2a4-a.gradient.onnx: the bundle was read without its gradient graphs"):
        load_gradients(load_bundle(toy.folder))
    with pytest.raises(BundleError, match=r"member fp32 has no gradient graph"):
        GradientGraph(bundle, without_gradient(bundle.manifest.members[2]))


def raises(error: Exception) -> Callable[..., None]:
    def call(*args: object, **kwargs: object) -> None:
        raise error

    return call


@pytest.mark.parametrize(("error", "says"), [(MemoryError(), "MemoryError()"), (RuntimeError("a\nb"), "a")], ids=repr)
def test_whatever_onnx_runtime_raises_is_a_bundle_error_of_one_line(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    monkeypatch.setattr(ort, "InferenceSession", raises(error))
    with pytest.raises(BundleError, match=r"^\S+/fp32.onnx: ONNX Runtime cannot load it: (.*)$") as refusal:
        Member(bundle, bundle.manifest.members[2])
    assert str(refusal.value).endswith(f": {says}")


def test_the_graphs_that_the_refused_ones_differ_from_are_accepted(bundle: Bundle) -> None:
    entry = bundle.manifest.members[2]
    Member(spoilt(bundle, "fp32.onnx", graph([IMAGE], [LOGITS])), entry)
    GradientGraph(spoilt(bundle, "fp32.gradient.onnx", graph([IMAGE, COTANGENT], [LOGITS, GRADIENT])), entry)
