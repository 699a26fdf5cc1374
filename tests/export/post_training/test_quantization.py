"""Quantization and what it stands on: agreement, integer kernels, grids, what corrections are worth."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.post_training.classifier import Classifier, Preprocessing, read_classifier
from export.post_training.kernels import integer_layers, kernels
from export.post_training.operators import QuantizationError
from export.post_training.quantization import CORRECTED, PLAIN, Method
from export.post_training.quantized_bundle import MemberGraph, quantized_member
from export.post_training.weighted_layers import WeightedLayer
from models.precision import Precision
from runtime.sessions import open_session
from tests.export.onnx_toys import CLASSES, toy_classifier, toy_images, toy_onnx

Array = NDArray[np.float32]
BIAS_ONLY = Method(compensate=False, refit=False, correct_bias=True)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return toy_classifier(tmp_path_factory.mktemp("toy"))


def member(classifier: Classifier, precision: str, method: Method = CORRECTED) -> MemberGraph:
    return quantized_member(classifier, "member", Precision.parse(precision), toy_images(16, seed=1), method)


@pytest.mark.parametrize(
    ("weight", "method", "message"),
    [
        (1e30, CORRECTED, "expected inputs to round its weights by, got some of up to .*e\\+29: .* --plain rounds"),
        (3e38, PLAIN, "expected finite values for the calibration pictures, got NaN or infinity"),
    ],
    ids=["too large to round by", "infinite after a layer"],
)
def test_a_layer_behind_weights_that_are_far_too_large_is_named(
    tmp_path: Path, weight: float, method: Method, message: str
) -> None:
    model = toy_onnx()
    (stem,) = (tensor for tensor in model.graph.initializer if tensor.name == "stem")
    values = numpy_helper.to_array(stem).copy()
    values.flat[2] = weight
    stem.CopyFrom(numpy_helper.from_array(values, "stem"))
    onnx.save(model, tmp_path / "broken.onnx")
    classifier = read_classifier(tmp_path / "broken.onnx", Preprocessing())
    with pytest.raises(QuantizationError, match=f"^the operator Conv of node 'depthwise': {message}"):
        member(classifier, "w8a8", method)


def logits(graph: bytes, images: Array, *, optimised: bool = True) -> Array:
    if optimised:
        session = open_session(graph, "member", {"image": [*images.shape[1:]]}, {"logits": [CLASSES]})
    else:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(graph, options)
    output: Array = session.run(None, {"image": images})[0]
    return output


def errors(classifier: Classifier, quantized: MemberGraph, images: Array) -> Array:
    return logits(quantized.graph, images) - logits(classifier.model.SerializeToString(), images)


@pytest.mark.parametrize(("precision", "least"), [("w8a8", 0.97), ("w4a8", 0.9), ("fp32", 1.0)])
def test_members_agree_with_the_original(classifier: Classifier, precision: str, least: float) -> None:
    images = toy_images(200, seed=2)
    expected = logits(classifier.model.SerializeToString(), images).argmax(axis=1)
    found = logits(member(classifier, precision).graph, images).argmax(axis=1)
    assert min(Counter(expected.tolist()).values()) > 10, "the toy should know several classes"
    assert (found == expected).mean() >= least


@pytest.mark.parametrize("precision", ["w8a8", "w4a8", "w2a8"])
def test_what_a_session_runs_is_integer_kernels(classifier: Classifier, precision: str) -> None:
    quantized = member(classifier, precision)
    found = kernels(quantized.graph)
    assert {op: found[op] for op in ("QLinearConv", "QGemm", "QLinearAdd", "QLinearGlobalAveragePool")} == {
        "QLinearConv": 3,
        "QGemm": 1,
        "QLinearAdd": 1,
        "QLinearGlobalAveragePool": 1,
    }
    assert not {"Conv", "FusedConv", "Gemm", "Clip", "Relu", "DequantizeLinear"} & set(found)
    assert (quantized.integer, quantized.layers) == (4, 4)


def test_a_float_graph_has_no_integer_layers(classifier: Classifier) -> None:
    assert integer_layers(classifier.model.SerializeToString()) == (0, 4)


def test_kernels_compute_what_the_graph_says(classifier: Classifier) -> None:
    """ONNX's own definition of QuantizeLinear and DequantizeLinear, operator by operator, is the oracle."""
    images, graph = toy_images(100, seed=3), member(classifier, "w4a8").graph
    fast, slow = logits(graph, images), logits(graph, images, optimised=False)
    assert np.abs(fast - slow).max() <= 0.02 * np.abs(slow).max()
    assert np.median(np.abs(fast - slow)) < 1e-5


@pytest.mark.parametrize(
    ("precision", "dtype", "low", "high"),
    [("w2a8", TensorProto.INT2, -2, 1), ("w4a8", TensorProto.INT4, -8, 7), ("w8a8", TensorProto.INT8, -128, 127)],
)
def test_weights_are_stored_on_their_grid(
    classifier: Classifier, precision: str, dtype: int, low: int, high: int
) -> None:
    stored = onnx.load_from_string(member(classifier, precision).graph).graph.initializer
    levels = [tensor for tensor in stored if "#weight#" in tensor.name and len(tensor.dims) > 1]
    assert [tensor.data_type for tensor in levels] == [dtype] * 4
    values = np.concatenate([numpy_helper.to_array(tensor).astype(int).reshape(-1) for tensor in levels])
    assert low <= values.min() < 0 < values.max() <= high
    assert sum(len(tensor.raw_data) for tensor in levels) == 384 * int(precision[1]) // 8


@settings(max_examples=8)
@given(st.integers(0, 1000), st.sampled_from(["w8a8", "w4a8", "w3a8", "w2a8"]))
def test_bias_correction_reduces_the_mean_error_of_the_output(
    tmp_path_factory: pytest.TempPathFactory, seed: int, precision: str
) -> None:
    classifier = toy_classifier(tmp_path_factory.mktemp("toy"), seed)
    images = toy_images(16, seed=1)
    plain, corrected = (
        np.abs(errors(classifier, member(classifier, precision, method), images).mean(axis=0)).max()
        for method in (PLAIN, BIAS_ONLY)
    )
    step = np.abs(logits(classifier.model.SerializeToString(), images)).max() / 255
    assert corrected < plain + step, "never worse, but for the kernels' rounding"
    if plain > 5 * step:
        assert corrected < plain


def test_compensation_beats_the_nearest_level(classifier: Classifier) -> None:
    images = toy_images(200, seed=2)
    nearest, compensated = (
        np.square(errors(classifier, member(classifier, "w3a8", method), images)).mean()
        for method in (PLAIN, CORRECTED)
    )
    assert compensated < nearest / 2


def test_walking_reports_every_node(classifier: Classifier) -> None:
    seen: list[tuple[int, int]] = []
    quantized_member(
        classifier,
        "member",
        Precision(8, 8),
        toy_images(4, seed=1),
        report=lambda done, total: seen.append((done, total)),
    )
    count = len(classifier.model.graph.node)
    assert seen == [(index + 1, count) for index in range(count)]


@pytest.mark.parametrize("precision", ["w4a4", "w1a8"])
def test_precisions_that_need_training_are_refused(classifier: Classifier, precision: str) -> None:
    with pytest.raises(QuantizationError, match=f"where nothing is trained, got {precision}"):
        member(classifier, precision)


def test_the_same_images_give_the_same_bytes(classifier: Classifier, tmp_path: Path) -> None:
    assert member(classifier, "w4a8").graph == member(toy_classifier(tmp_path), "w4a8").graph


@pytest.mark.parametrize("groups", [1, 2])
def test_mean_squares_are_the_diagonal_of_the_moments(groups: int) -> None:
    """Of a convolution over more places than are looked at, too."""
    weight = np.zeros((4, 4 // groups, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, kernel_shape=[3, 3])
    layer = WeightedLayer(node, weight, None, axis=0, groups=groups)
    values = np.random.default_rng(0).normal(size=(70, 4, 12, 12)).astype(np.float32)
    diagonal = layer.moments(values, values).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(layer.mean_squares(values), diagonal, rtol=1e-4, atol=1e-6)
