"""A toy ONNX classifier as others hand one over: its own names, a fixed batch, batch norm, a softmax at its end."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.post_training.classifier import Classifier, Preprocessing, read_classifier

SHAPE = (3, 8, 8)
CLASSES = 4
HEAD_BIAS = (6.2, -3.8, -1.2, -5.4)
"""Makes all classes likely at seed 0."""
PREPROCESSING = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.5,))


def toy_images(count: int, seed: int) -> NDArray[np.float32]:
    """Smooth random images [count, 3, 8, 8] in [0, 1]."""
    coarse = np.random.default_rng(seed).random((count, 3, 4, 4), dtype=np.float32)
    return np.repeat(np.repeat(coarse, 2, axis=2), 2, axis=3)


def toy_onnx(seed: int = 0, extra: onnx.NodeProto | None = None) -> onnx.ModelProto:
    """`pixels` [1, 3, 8, 8] to `probabilities` [1, 4]; `extra` takes `features` [1, 8, 4, 4] to `more`."""
    generator = np.random.default_rng(seed)
    shapes = {
        "stem": (8, 3, 3, 3),
        "gamma": (8,),
        "beta": (8,),
        "moving": (8,),
        "depthwise": (8, 1, 3, 3),
        "depthwise_bias": (8,),
        "pointwise": (8, 8, 1, 1),
        "head": (4, 8),
        "head_bias": (4,),
    }
    weights = {name: generator.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["head"] *= 8
    weights["head_bias"] = np.array(HEAD_BIAS, np.float32)
    weights |= {"gamma": weights["gamma"] + 1, "spread": np.ones(8, np.float32)}
    constants: dict[str, NDArray[Any]] = {
        **weights,
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "flat": np.array([1, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "stem"], ["a"], "stem", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "gamma", "beta", "moving", "spread"], ["b"], "norm"),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        helper.make_node(
            "Conv", ["c", "depthwise", "depthwise_bias"], ["d"], "depthwise", group=8, strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Clip", ["d", "low", "high"], ["e"], "relu6"),
        helper.make_node("Conv", ["e", "pointwise"], ["f"], "pointwise"),
        helper.make_node("Add", ["f", "e"], ["features"], "residual"),
        *([] if extra is None else [extra]),
        helper.make_node("GlobalAveragePool", ["features" if extra is None else "more"], ["pooled"], "pool"),
        helper.make_node("Reshape", ["pooled", "flat"], ["rows"], "reshape"),
        helper.make_node("Gemm", ["rows", "head", "head_bias"], ["scores"], "head", transB=1),
        helper.make_node("Softmax", ["scores"], ["probabilities"], "softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, *SHAPE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def toy_classifier(folder: Path, seed: int = 0) -> Classifier:
    """The toy, read with `PREPROCESSING`."""
    path = folder / "toy.onnx"
    onnx.save(toy_onnx(seed), path)
    return read_classifier(path, PREPROCESSING)
