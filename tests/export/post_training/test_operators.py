"""What becomes of each operator, and which values live on 8-bit grids, in graphs of a few nodes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.post_training.onnx_nodes import OnnxGraph
from export.post_training.operators import FLOAT, INTEGER, PASSING, WEIGHTS, QuantizationError, activated, gridded, kind
from tests.export.onnx_toys import toy_onnx

CONSTANTS: dict[str, NDArray[Any]] = {
    "kernel": np.ones((2, 2, 1, 1), np.float32),
    "kernel_1d": np.ones((2, 2, 1), np.float32),
    "matrix": np.ones((2, 3), np.float32),
    "number": np.array(6, np.float32),
    "zero": np.array(0, np.float32),
    "rows": np.array([1, -1], np.int64),
}
IMAGE = (2, 4, 4)


def graph_of(*nodes: onnx.NodeProto, shape: tuple[int, ...] = IMAGE) -> OnnxGraph:
    """From `x` [1, *shape] to the last node's first output."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()]
    graph = helper.make_graph(list(nodes), "few", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return OnnxGraph(helper.make_model(graph, opset_imports=opsets))


def node(op: str, *inputs: str, out: str = "y", name: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [out], name, **attributes)


KINDS = {
    "convolution": (node("Conv", "x", "kernel"), "weights"),
    "linear": (node("Gemm", "x", "matrix"), "weights"),
    "matrix": (node("MatMul", "x", "matrix"), "weights"),
    "product of two images": (node("MatMul", "x", "x"), "float"),
    "sum of two images": (node("Add", "x", "x"), "integer"),
    "sum with a constant": (node("Add", "x", "number"), "float"),
    "pool": (node("GlobalAveragePool", "x"), "integer"),
    "largest": (node("MaxPool", "x", kernel_shape=[2, 2]), "passing"),
    "reshaped": (node("Reshape", "x", "rows"), "passing"),
    "activation": (node("Relu", "x"), "float"),
    "softmax": (node("Softmax", "x"), "float"),
}


@pytest.mark.parametrize(("one", "expected"), KINDS.values(), ids=KINDS.keys())
def test_each_operator_has_one_kind(one: onnx.NodeProto, expected: str) -> None:
    graph = graph_of(one)
    assert kind(graph, graph.nodes[0]) == expected


def test_a_value_that_is_no_float_is_only_carried() -> None:
    """The shape of an image goes through Reshape and Concat too, and has no grid."""
    graph = graph_of(node("Shape", "x", out="shape"), node("Unsqueeze", "shape", "rows", out="y"))
    assert kind(graph, graph.nodes[1]) == "float"


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (node("Einsum", "x", equation="i->i", name="mix"), r"operator Einsum of node 'mix': expected one of Abs, Add,"),
        (node("Gelu", "x", name="a", domain="com.example"), "operator com.example.Gelu of node 'a': expected one of"),
        (node("ConvTranspose", "x", "kernel", name="up"), "operator ConvTranspose of node 'up': expected one of"),
        (node("Conv", "x", "kernel_1d", name="c"), "operator Conv of node 'c': expected constant weights, 2-D and"),
        (node("Conv", "x", "x", name="d"), "operator Conv of node 'd': expected constant weights, 2-D and"),
        (node("Gemm", "x", "matrix", name="g", alpha=2.0), "operator Gemm of node 'g': expected constant weights"),
        (node("Gemm", "x", "matrix", name="t", transA=1), "operator Gemm of node 't': expected constant weights"),
        (node("Einsum", "x", equation="i->i"), "operator Einsum of node 'Einsum_0'"),
    ],
    ids=["unknown", "another domain", "transposed", "1-D", "weights of the image", "alpha", "transA", "nameless"],
)
def test_an_operator_without_a_rule_is_named_with_its_node(one: onnx.NodeProto, says: str) -> None:
    graph = graph_of(one)
    with pytest.raises(QuantizationError, match=says):
        kind(graph, graph.nodes[0])
    with pytest.raises(QuantizationError, match=says):
        gridded(graph)


def test_an_operator_is_in_one_list_and_exists() -> None:
    lists = (WEIGHTS, INTEGER, PASSING, FLOAT)
    assert len(frozenset().union(*lists)) == sum(map(len, lists))
    for name in frozenset().union(*lists):
        assert onnx.defs.has(name), name


@dataclass(frozen=True)
class Network:
    """Nodes, and which of their values share which grid."""

    nodes: list[onnx.NodeProto]
    grids: dict[str, str]


CONV = node("Conv", "x", "kernel", out="a")
NETWORKS = {
    "a convolution's input and output": Network([CONV, node("Softmax", "a")], {"x": "x", "a": "a"}),
    "behind its activation, not before": Network(
        [CONV, node("Relu", "a", out="b"), node("Softmax", "b")], {"x": "x", "b": "b"}
    ),
    "before it, if others see that too": Network(
        [CONV, node("Relu", "a", out="b"), node("Softmax", "a", out="c"), node("Sub", "b", "c")], {"x": "x", "a": "a"}
    ),
    "one grid for all that only moves": Network(
        [
            CONV,
            node("MaxPool", "a", out="b", kernel_shape=[2, 2]),
            node("Flatten", "b", out="c"),
            node("Softmax", "c"),
        ],
        {"x": "x", "a": "a", "b": "a", "c": "a"},
    ),
    "what only moves and goes to a layer": Network(
        [node("Sqrt", "x", out="a"), node("Reshape", "a", "rows", out="b"), node("MatMul", "b", "matrix")],
        {"a": "a", "b": "a"},
    ),
    "a sum's terms and result": Network(
        [node("Sqrt", "x", out="a"), node("Add", "a", "x", out="b"), node("Softmax", "b")],
        {"a": "a", "x": "x", "b": "b"},
    ),
    "float alone": Network([node("Relu", "x", out="a"), node("Softmax", "a")], {}),
    "never the output": Network([CONV], {"x": "x"}),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_what_lives_on_a_grid(network: Network) -> None:
    assert gridded(graph_of(*network.nodes)) == network.grids


def test_an_activation_is_taken_in_where_nothing_else_sees_what_is_before_it() -> None:
    graph = OnnxGraph(toy_onnx())
    by_name = {each.name: each for each in graph.nodes}
    assert activated(graph, by_name["depthwise"]) == "e"  # Clip
    assert activated(graph, by_name["pointwise"]) == "f"  # an Add follows
    assert activated(graph, by_name["stem"]) == "a"  # batch norm does
