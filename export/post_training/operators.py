"""What becomes of each ONNX operator when a network is quantized after training."""

from typing import Literal

import onnx

from export.post_training.onnx_nodes import OnnxGraph
from export.post_training.weighted_layers import weighted_layer
from runtime.errors import EmpirError

Kind = Literal["weights", "integer", "passing", "float"]

WEIGHTS = frozenset({"Conv", "Gemm", "MatMul"})
"""Integer weights, inputs on 8-bit grids."""
INTEGER = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid"})
"""Inputs and outputs on 8-bit grids, each its own."""
PASSING = frozenset({"Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Values that are only moved or chosen: the output is on the grid of the input."""
# fmt: off
FLOAT = frozenset({
    "Abs", "BatchNormalization", "Cast", "Clip", "Constant", "ConstantOfShape", "Div", "Dropout", "Elu", "Equal",
    "Erf", "Exp", "Expand", "Gather", "Gelu", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LayerNormalization", "Log", "LogSoftmax", "LpNormalization", "Max", "Min", "Mish", "Neg", "PRelu", "Pad",
    "Pow", "Range", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Selu", "Shape", "Slice",
    "Softmax", "Softplus", "Split", "Sqrt", "Sub", "Tanh", "Tile", "Where"
})
# fmt: on
"""Computed in float32, between integer layers; after a layer with weights, Clip and Relu disappear in its grid."""


class QuantizationError(EmpirError):
    """A model that cannot be quantized."""

    code = "cannot_quantize"


def kind(graph: OnnxGraph, node: onnx.NodeProto) -> Kind:
    """What becomes of the node. Raises QuantizationError, naming operator and node, where there is no rule."""
    if weighted_layer(graph, node) is not None:
        return "weights"
    standard = node.domain in ("", "ai.onnx")
    if standard and node.op_type == "MatMul" and (node.input[1] not in graph.constants):
        return "float"
    if standard and node.op_type in INTEGER:
        return "integer" if len(graph.float_variables(node)) == len(node.input) else "float"
    if standard and node.op_type in PASSING:
        return "passing" if node.input[0] in graph.floats else "float"
    if standard and node.op_type in FLOAT:
        return "float"
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    why = "expected constant weights, 2-D and without alpha, beta or transA" if node.op_type in WEIGHTS else ""
    known = ", ".join(sorted(WEIGHTS | INTEGER | PASSING | FLOAT))
    raise QuantizationError(
        f"no rule to quantize the operator {operator} of node {node.name!r}: {why or f'expected one of {known}'}"
    )


def gridded(graph: OnnxGraph) -> dict[str, str]:
    """The values that live on 8-bit grids, each with the value whose grid it has (mostly itself).

    Raises QuantizationError, naming operator and node, where there is no rule.
    """
    kinds = [kind(graph, node) for node in graph.nodes]
    wanted: set[str] = set()
    for node, what in zip(reversed(graph.nodes), reversed(kinds), strict=True):
        if what == "weights" or (what == "passing" and node.output[0] in wanted):
            wanted.add(node.input[0])
        elif what == "integer":
            wanted.update((*graph.variables(node), *node.output))
        if node.op_type == "Conv":  # the integer kernel has no float output
            wanted.add(activated(graph, node))
    wanted.discard(graph.output)
    owners = {value: value for value in sorted(wanted)}
    for node, what in zip(graph.nodes, kinds, strict=True):
        if what == "passing" and node.input[0] in owners and node.output[0] != graph.output:
            owners[node.output[0]] = owners[node.input[0]]
    return owners


def activated(graph: OnnxGraph, node: onnx.NodeProto) -> str:
    """The node's output behind the Relu or Clip that alone consumes it, if one does."""
    followers = graph.consumers(node.output[0])
    if len(followers) == 1 and followers[0].op_type in ("Relu", "Clip") and node.output[0] != graph.output:
        return str(followers[0].output[0])
    return str(node.output[0])
