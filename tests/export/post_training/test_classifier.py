"""Any classifier becomes the same function with the contract's names, or is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

from export.graphs.graph import OPSET
from export.post_training.classifier import Preprocessing, read_classifier
from export.post_training.operators import QuantizationError
from tests.export.onnx_toys import CLASSES, SHAPE, toy_images, toy_onnx

Edit = Callable[[onnx.ModelProto], None]


def write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
        Preprocessing(0, 255, mean=(127,), std=(128,)),
        Preprocessing(-1, 1),
    ],
    ids=["pixels", "mean and std", "0 to 255", "-1 to 1"],
)
def test_the_member_is_the_model_behind_its_preprocessing(tmp_path: Path, preprocessing: Preprocessing) -> None:
    classifier = read_classifier(write(tmp_path, toy_onnx()), preprocessing)
    images = toy_images(5, seed=0)
    logits = ort.InferenceSession(classifier.model.SerializeToString()).run(["logits"], {"image": images})[0]
    mean, std = (np.resize(values, (3, 1, 1)) for values in (preprocessing.mean, preprocessing.std))
    pixels = preprocessing.low + (preprocessing.high - preprocessing.low) * images
    original = ort.InferenceSession(toy_onnx().SerializeToString())
    expected = np.concatenate(
        [original.run(None, {"pixels": ((pixel - mean) / std).astype(np.float32)[None]})[0] for pixel in pixels]
    )
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=1e-4)


def test_what_was_found_and_changed_is_said(tmp_path: Path) -> None:
    classifier = read_classifier(write(tmp_path, toy_onnx()), Preprocessing())
    assert (classifier.shape, classifier.classes) == (SHAPE, CLASSES)
    assert classifier.changes == ("the softmax at its end was taken off",)
    assert {node.op_type for node in classifier.model.graph.node}.isdisjoint({"Softmax", "BatchNormalization"})
    assert [opset.version for opset in classifier.model.opset_import] == [OPSET]


def test_values_that_have_the_contracts_names_are_no_obstacle(tmp_path: Path) -> None:
    model = toy_onnx()
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"a": "image", "f": "logits"}.get(name, name) for name in names]
    assert read_classifier(write(tmp_path, model), Preprocessing()).classes == CLASSES


@pytest.mark.parametrize("opset", [OPSET - 1, OPSET + 1, OPSET + 3])
def test_another_opset_becomes_the_one_that_is_served(tmp_path: Path, opset: int) -> None:
    path = write(tmp_path, version_converter.convert_version(toy_onnx(), opset))
    assert [each.version for each in onnx.load(path).opset_import] == [opset]
    classifier = read_classifier(path, Preprocessing())
    assert [each.version for each in classifier.model.opset_import] == [OPSET]


@pytest.mark.parametrize("opset", [OPSET + 1, OPSET + 3])
def test_an_operator_that_the_served_opset_lacks_is_refused(tmp_path: Path, opset: int) -> None:
    model = version_converter.convert_version(toy_onnx(), opset)
    model.graph.node[4].CopyFrom(helper.make_node("CumProd", ["d", "channel"], ["e"], "newer_here"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1), "channel"))
    with pytest.raises(QuantizationError, match=f"opset {opset} cannot be converted to {OPSET}, .*CumProd"):
        read_classifier(write(tmp_path, model), Preprocessing())


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def channels_last(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 8, 8, 3]))


def bytes_in(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def any_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, 4, 4]))


def a_map(model: onnx.ModelProto) -> None:
    del model.graph.node[7:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, 4, 4]))


def unknown_domain(model: onnx.ModelProto) -> None:
    model.graph.node[4].CopyFrom(helper.make_node("Swirl", ["d"], ["e"], "swirl_here", domain="com.acme"))
    model.opset_import.append(helper.make_opsetid("com.acme", 1))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[4].CopyFrom(helper.make_node("Swirl", ["d"], ["e"], "swirl_here"))


def logarithm_of_less_than_nothing(model: onnx.ModelProto) -> None:
    model.graph.node[4].CopyFrom(helper.make_node("Log", ["d"], ["e"], "log"))


def with_weight(name: str, value: float) -> Edit:
    """One of the values of an initializer is this."""

    def spoil(model: onnx.ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[2] = value
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    spoil.__name__ = f"{name} of {value}"
    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (two_inputs, r"expected one input, an image float32 \[N, C, H, W\].*mask float \[1\]"),
        (channels_last, r"expected one input.*got pixels float \[1, 8, 8, 3\]"),
        (bytes_in, r"expected one input.*got pixels uint8 "),
        (any_size, r"a fixed size, got pixels float \[1, 3, 'H', 8\]"),
        (two_outputs, "expected one output, the logits, got probabilities, features"),
        (unknown_domain, r"cannot load the operator com\.acme\.Swirl of node 'swirl_here'"),
        (unknown_operator, r"No Op registered for Swirl.*, the operator Swirl of node 'swirl_here'"),
        (logarithm_of_less_than_nothing, r"expected logits, got NaN for random images; do --mean"),
        (with_weight("stem", np.nan), r"weights that are finite, .* the initializer 'stem', 1 of its 216 values"),
        (with_weight("head", -np.inf), r"weights that are finite, .* the initializer 'head', 1 of its 32 values"),
        (a_map, r"expected the output \[N, K\], a logit for each class, got \[2, 8, 4, 4\]"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_image_classifier_is_refused(tmp_path: Path, spoil: Edit, message: str) -> None:
    model = toy_onnx()
    spoil(model)
    with pytest.raises(QuantizationError, match=message):
        read_classifier(write(tmp_path, model), Preprocessing())


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cat.onnx"
    path.write_bytes(b"\xff\xd8\xff\xe0 a photo")
    with pytest.raises(QuantizationError, match=r"cat\.onnx: expected an ONNX model"):
        read_classifier(path, Preprocessing())
    with pytest.raises(QuantizationError, match=r"dog\.onnx: cannot be read: No such file"):
        read_classifier(tmp_path / "dog.onnx", Preprocessing())


def test_means_that_do_not_fit_the_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="mean: expected 1 or 3 numbers, got 2"):
        read_classifier(write(tmp_path, toy_onnx()), Preprocessing(mean=(0.1, 0.2)))
