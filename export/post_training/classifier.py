"""Any ONNX image classifier as a float member graph: `image` in [0, 1] to `logits`, normalisation inside."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.post_training.model_file import foreign_operator, load_model
from export.post_training.operators import QuantizationError
from runtime.errors import BundleError
from runtime.sessions import first_line, open_session

TOLERANCE = 1e-3
"""Of the largest logit: folding batch norms moves the last bits."""


@dataclass(frozen=True)
class Preprocessing:
    """What a given model wants: (low + (high - low) image - mean) / std, one value for each channel or one for all."""

    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def affine(self, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factor and shift, [1, C, 1, 1]. Raises QuantizationError if the numbers of values do not fit `channels`."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                wanted = "1 number" if channels == 1 else f"1 or {channels} numbers"
                raise QuantizationError(f"{name}: expected {wanted}, got {len(values)}")
        mean, std = (np.resize(np.array(values, np.float64), (1, channels, 1, 1)) for values in (self.mean, self.std))
        factor, shift = (self.high - self.low) / std, (self.low - mean) / std
        return factor.astype(np.float32), shift.astype(np.float32)


@dataclass(frozen=True)
class Classifier:
    """A float member graph, the (C, H, W) of its images, the number of its classes, and what was changed in words."""

    model: onnx.ModelProto
    shape: tuple[int, int, int]
    classes: int
    changes: tuple[str, ...]


def read_classifier(path: Path, preprocessing: Preprocessing) -> Classifier:
    """The classifier in an ONNX file as a member graph with constants and batch norms folded.

    The batch axis is freed, a softmax at the end taken off, names made the contract's, and `preprocessing` put inside;
    then the result is compared with the original. Raises QuantizationError if it is not an image classifier that
    takes float32 [N, C, H, W] and gives [N, K].
    """
    original = load_model(path)
    shape = _image_shape(path, original)
    model, changes = _folded(path, original), []
    if _drop_softmax(model):
        changes.append("the softmax at its end was taken off")
    _attach(model, preprocessing, shape[0])
    _rename_output(model)
    classes = _compare(path, original, model, preprocessing, shape, softmax=bool(changes))
    _declare(model, shape, classes)
    return Classifier(model, shape, classes, tuple(changes))


def _image_shape(path: Path, model: onnx.ModelProto) -> tuple[int, int, int]:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    found = [f"{value.name} {_described(value)}" for value in inputs]
    dims = [axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    is_float = len(inputs) == 1 and inputs[0].type.tensor_type.elem_type == TensorProto.FLOAT
    if not is_float or len(dims) != 4 or dims[1] not in (1, 3) or min(dims[2:]) < 1:
        raise QuantizationError(
            f"{path}: expected one input, an image float32 [N, C, H, W] with 1 or 3 channels and a fixed size, "
            f"got {', '.join(found) or 'none'}"
        )
    if len(model.graph.output) != 1:
        outputs = ", ".join(value.name for value in model.graph.output)
        raise QuantizationError(f"{path}: expected one output, the logits, got {outputs or 'none'}")
    return dims[1], dims[2], dims[3]


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    axes = [axis.dim_value or axis.dim_param or "?" for axis in tensor.shape.dim]
    return f"{TensorProto.DataType.Name(tensor.elem_type).lower()} {axes}"


def _folded(path: Path, original: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a free batch axis, as ONNX Runtime's basic optimisations leave it: nothing but standard ONNX."""
    model = onnx.ModelProto()
    model.CopyFrom(original)
    _free_batch(model)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
            which = foreign_operator(original) or "it"
            raise QuantizationError(f"{path}: ONNX Runtime cannot load {which}: {first_line(error)}") from error
        folded = onnx.load(target)
    del folded.graph.value_info[:]
    kept = [opset for opset in folded.opset_import if opset.domain in ("", "ai.onnx")]
    if all(node.domain in ("", "ai.onnx") for node in folded.graph.node):
        del folded.opset_import[:]
        folded.opset_import.extend(kept)
    return folded


def _free_batch(model: onnx.ModelProto) -> None:
    """Make the first axis of input and output free, and reshapes to a fixed batch copy the batch of their input."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].Clear()
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if not batch or node.op_type != "Reshape" or node.input[1] not in stored:
            continue
        target = numpy_helper.to_array(stored[node.input[1]]).copy()
        if target.size > 1 and target[0] == batch:
            target[0] = 0 if -1 in target else -1
            name = f"{node.output[0]}_free"
            model.graph.initializer.append(numpy_helper.from_array(target, name))
            node.input[1] = name
            del node.attribute[:]  # allowzero, with which 0 would not be a copy


def _drop_softmax(model: onnx.ModelProto) -> bool:
    """Take a softmax off that makes the output; argmax stays, and temperatures work on logits."""
    output = model.graph.output[0]
    last = next((node for node in model.graph.node if output.name in node.output), None)
    if last is None or last.op_type not in ("Softmax", "LogSoftmax"):
        return False
    output.name = last.input[0]
    model.graph.node.remove(last)
    return True


def _attach(model: onnx.ModelProto, preprocessing: Preprocessing, channels: int) -> None:
    """Call the input `image` and let the graph begin with factor x image + shift, if that changes anything."""
    factor, shift = preprocessing.affine(channels)
    old = model.graph.input[0].name
    if old != "image":
        _rename(model, "image", "image_of_model")
    steps: list[onnx.NodeProto] = []
    source = "image"
    for op, values, neutral in (("Mul", factor, 1), ("Add", shift, 0)):
        if np.any(values != neutral):
            model.graph.initializer.append(numpy_helper.from_array(values, f"normalisation_{op.lower()}"))
            result = f"normalised_{op.lower()}"
            steps.append(helper.make_node(op, [source, f"normalisation_{op.lower()}"], [result], name=result))
            source = result
    _rename(model, old, source)
    model.graph.input[0].name = "image"
    nodes = [*steps, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _rename_output(model: onnx.ModelProto) -> None:
    old = model.graph.output[0].name
    if old == "logits":
        return
    _rename(model, "logits", "logits_of_model")
    _rename(model, old, "logits")
    model.graph.output[0].name = "logits"


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    for tensor in model.graph.initializer:
        tensor.name = new if tensor.name == old else tensor.name


def _compare(
    path: Path,
    original: onnx.ModelProto,
    model: onnx.ModelProto,
    preprocessing: Preprocessing,
    shape: tuple[int, int, int],
    *,
    softmax: bool,
) -> int:
    """Run both on a batch of two random images; the number of classes. Raises QuantizationError if they differ."""
    images = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    factor, shift = preprocessing.affine(shape[0])
    try:
        found = _run(path, model, images)
    except QuantizationError as failure:
        raise QuantizationError(f"{failure}. If its batch axis is fixed, export it with a free one") from failure
    batch = original.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    wanted = np.concatenate(
        [_run(path, original, np.repeat(image[None] * factor + shift, batch, axis=0))[:1] for image in images]
    )
    if found.ndim != 2 or len(found) != 2 or found.shape[1] < 2:
        raise QuantizationError(f"{path}: expected the output [N, K], a logit for each class, got {list(found.shape)}")
    if np.isnan(wanted).any():
        raise QuantizationError(
            f"{path}: expected logits, got NaN for random images; do --mean and --std fit the model?"
        )
    if softmax:
        wanted = np.log(np.maximum(wanted, 1e-30)) if wanted.min() >= 0 else wanted
        found, wanted = (values - values.max(axis=1, keepdims=True) for values in (found, wanted))
        found, wanted = np.maximum(found, -20), np.maximum(wanted, -20)
    error = float(np.abs(found - wanted).max())
    if not error <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):  # also catches NaN
        raise QuantizationError(
            f"{path}: with a free batch axis and folded constants its logits differ by {error:.3g} from the original's"
        )
    return int(found.shape[1])


def _run(path: Path, model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    options: Any = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: images})
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise QuantizationError(f"{path}: fails on random images: {first_line(error)}") from error
    return outputs[0]


def _declare(model: onnx.ModelProto, shape: tuple[int, int, int], classes: int) -> None:
    """Give input and output the contract's shapes, and check that the runtime takes the graph."""
    for values, axes in ((model.graph.input, shape), (model.graph.output, (classes,))):
        described = helper.make_tensor_value_info(values[0].name, TensorProto.FLOAT, ["N", *axes])
        del values[:]
        values.append(described)
    model.graph.name = "fp32"
    model.producer_name = "empir-serve"
    try:
        open_session(model.SerializeToString(), "the model", {"image": [*shape]}, {"logits": [classes]})
    except BundleError as error:
        raise QuantizationError(str(error)) from error
