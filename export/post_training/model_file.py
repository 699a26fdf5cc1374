"""An ONNX model as its file has it, checked; what is wrong with it is named."""

import re
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from export.graphs.graph import IR_VERSION, OPSET
from export.post_training.operators import QuantizationError
from runtime.sessions import first_line

WEIGHTED = frozenset({"BatchNormalization", "Conv", "Gemm", "MatMul"})
KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def load_model(path: Path) -> onnx.ModelProto:
    """The model in a file, valid, of the opset that is served, and with weights that are finite. Raises
    QuantizationError, naming what is wrong."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise QuantizationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf and the checker have no common base but Exception
        raise QuantizationError(f"{path}: expected an ONNX model, got {first_line(error)}{_where(error)}") from error
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    try:
        if version != OPSET:
            model = version_converter.convert_version(model, OPSET)
            onnx.checker.check_model(model)
    except Exception as error:  # the converter raises whatever it trips over
        raise QuantizationError(
            f"{path}: opset {version} cannot be converted to {OPSET}, the one that is served: "
            f"{first_line(error)}{_where(error)}"
        ) from error
    model.ir_version = max(model.ir_version, IR_VERSION)
    _refuse_broken_weights(path, model)
    return model


def foreign_operator(model: onnx.ModelProto) -> str | None:
    """The first operator that is neither standard, nor ONNX Runtime's, nor a function of the model, with its node."""
    functions = {(function.domain, function.name) for function in model.functions}
    for index, node in enumerate(model.graph.node):
        if node.domain not in KNOWN_DOMAINS and (node.domain, node.op_type) not in functions:
            return f"the operator {node.domain}.{node.op_type} of node {node.name or f'{node.op_type}_{index}'!r}"
    return None


def _where(error: Exception) -> str:
    """Operator and node, which the checker names in a later line."""
    found = re.search(r"Name: (.*) OpType: (\S+)", str(error))
    return "" if found is None else f", the operator {found[2]} of node {found[1]!r}"


def _refuse_broken_weights(path: Path, model: onnx.ModelProto) -> None:
    """Raise QuantizationError, naming it, for a constant with NaN, or weights with infinity, which a mask may have."""
    weights = {name for node in model.graph.node if node.op_type in WEIGHTED for name in node.input[1:]}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind != "f" or np.isfinite(values).all():
            continue
        if tensor.name in weights or np.isnan(values).any():
            count = int((~np.isfinite(values)).sum())
            raise QuantizationError(
                f"{path}: expected weights that are finite, got NaN or infinity in the initializer {tensor.name!r}, "
                f"{count:,} of its {values.size:,} values: the model is broken, or its training diverged"
            )
