"""The quantized graph says what was decided: on onnx.reference, against the float graph with the decisions put in."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.post_training.onnx_nodes import OnnxGraph, Values
from export.post_training.qdq_graph import qdq_graph
from export.post_training.quantization import PLAIN, Quantized, quantize
from export.post_training.weighted_layers import weighted_layer
from tests.export.onnx_toys import toy_classifier, toy_images

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> OnnxGraph:
    return OnnxGraph(toy_classifier(tmp_path_factory.mktemp("toy")).model)


def decided(graph: OnnxGraph, bits: int) -> Quantized:
    return quantize(graph, toy_images(16, seed=1), bits, PLAIN)


def run(model: onnx.ModelProto, **inputs: Array) -> Array:
    (output,) = ReferenceEvaluator(model).run(None, inputs)
    return np.asarray(output, np.float32)


def simulated(graph: OnnxGraph, quantized: Quantized, images: Array) -> Array:
    """The float graph, node by node, with the levels' weights, each value that has a grid put on it.

    A bias is a whole number of what a unit of the sums is worth.
    """

    def on_grid(name: str, value: Values) -> Values:
        grid = quantized.grids.get(name)
        return value if grid is None else grid.dequantize(grid.quantize(value))

    values: dict[str, Values] = {graph.input: on_grid(graph.input, images)}
    for node in graph.nodes:
        replaced: dict[str, Values] = {}
        layer = weighted_layer(graph, node)
        if layer is not None:
            chosen = quantized.layers[node.name]
            shape = [-1 if axis == layer.axis else 1 for axis in range(chosen.levels.ndim)]
            replaced[node.input[1]] = chosen.levels.astype(np.float32) * chosen.scales.reshape(shape)
            if len(node.input) > 2:
                unit = chosen.scales * np.float32(quantized.grids[node.input[0]].scale)
                replaced[node.input[2]] = np.rint(chosen.bias / unit) * unit
        outputs = graph.run(node, {name: values[name] for name in graph.variables(node)}, replaced)
        values.update({str(name): on_grid(name, value) for name, value in zip(node.output, outputs, strict=True)})
    return np.asarray(values[graph.output])


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_it_computes_what_the_decisions_say(graph: OnnxGraph, bits: int) -> None:
    """But for a value on the boundary of two levels, which may fall to either side."""
    quantized, images = decided(graph, bits), toy_images(12, seed=4)
    model = qdq_graph(graph, quantized, "quantized")
    found = run(model, **{graph.input: images})
    expected = simulated(graph, quantized, images)
    assert np.median(np.abs(found - expected)) < 1e-4 * np.abs(expected).max()
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_a_layer_without_a_bias_is_given_the_one_that_was_decided(graph: OnnxGraph) -> None:
    """The toy's stem and pointwise have none of their own; here theirs is large."""
    quantized, images = decided(graph, 8), toy_images(4, seed=4)
    plain = run(qdq_graph(graph, quantized, "a"), **{graph.input: images})
    for layer in quantized.layers.values():
        layer.bias[:] += np.float32(0.5)
    shifted = run(qdq_graph(graph, quantized, "b"), **{graph.input: images})
    assert np.abs(shifted - plain).min() > 1e-3


def test_every_consumer_has_its_own_dequantize_and_every_grid_one_quantize(graph: OnnxGraph) -> None:
    """As ONNX Runtime asks, which makes integer kernels of such groups."""
    quantized = decided(graph, 8)
    model = qdq_graph(graph, quantized, "quantized")
    quantizes = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(quantizes) == sorted(quantized.grids)
    back = [node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"]
    consumers = [sum(name in node.input for node in model.graph.node) for name in back]
    assert set(consumers) == {1}


def test_a_channel_next_to_nothing_keeps_its_bias(graph: OnnxGraph) -> None:
    """At a scale of 1e-12 a bias of 1 would not fit int32."""
    quantized = decided(graph, 8)
    (name,) = (node.name for node in graph.nodes if node.op_type == "Gemm")
    layer = quantized.layers[name]
    layer.scales[1], layer.levels[1], layer.bias[1] = np.float32(1e-12), 100, np.float32(1)
    found = run(qdq_graph(graph, quantized, "small"), **{graph.input: toy_images(3, seed=4)})
    np.testing.assert_allclose(found[:, 1], 1, rtol=1e-3)


def test_a_matrix_products_bias_is_added_in_float() -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(0, 1, (6, 3)).astype(np.float32)
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", s]) for n, s in (("x", 6), ("y", 3))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    stored = [numpy_helper.from_array(weight, "w")]
    model = helper.make_model(
        helper.make_graph(nodes, "product", values[:1], values[1:], stored),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    graph, x = OnnxGraph(model), generator.random((40, 6), dtype=np.float32)
    quantized = quantize(graph, x, 8, PLAIN)
    quantized.layers["product"].bias[:] = [1, 2, 3]
    found = run(qdq_graph(graph, quantized, "product"), x=x)
    np.testing.assert_allclose(found, x @ weight + np.array([1, 2, 3], np.float32), atol=0.05)
