"""A graph to walk through: who consumes what, and single nodes at work, against onnx.reference."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.post_training.onnx_nodes import CHUNK, OnnxGraph, Values, attributes
from tests.export.onnx_toys import SHAPE, toy_classifier, toy_images, toy_onnx


@pytest.fixture
def graph() -> OnnxGraph:
    return OnnxGraph(toy_onnx())


def test_every_node_has_a_name_even_if_it_had_none() -> None:
    model = toy_onnx()
    for node in model.graph.node:
        node.name = ""
    names = [node.name for node in OnnxGraph(model).nodes]
    assert names[0] == "Conv_0" and len(set(names)) == len(names)


def test_what_depends_on_the_image_is_a_variable(graph: OnnxGraph) -> None:
    by_name = {node.name: node for node in graph.nodes}
    assert graph.variables(by_name["stem"]) == ["pixels"]
    assert graph.variables(by_name["residual"]) == ["f", "e"]
    assert graph.variables(by_name["relu6"]) == ["d"]
    assert graph.constants["stem"].shape == (8, 3, 3, 3) and "pixels" not in graph.constants


def test_an_input_that_is_left_out_is_no_variable() -> None:
    clip = helper.make_node("Clip", ["x", "", "high"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    high = numpy_helper.from_array(np.array(1, np.float32), "high")
    found = OnnxGraph(helper.make_model(helper.make_graph([clip], "clip", values[:1], values[1:], [high])))
    assert found.variables(found.nodes[0]) == ["x"]


def test_shapes_and_indices_are_no_floats() -> None:
    nodes = [helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Reshape", ["x", "shape"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    found = OnnxGraph(helper.make_model(helper.make_graph(nodes, "shapes", values[:1], values[1:])))
    assert found.variables(found.nodes[1]) == ["x", "shape"]
    assert found.float_variables(found.nodes[1]) == ["x"]


def test_consumers_and_uses_count_the_output_too(graph: OnnxGraph) -> None:
    assert [node.name for node in graph.consumers("e")] == ["pointwise", "residual"]
    uses = graph.uses()
    assert (uses["e"], uses["f"], uses["probabilities"], uses["nothing"]) == (2, 1, 1, 0)


@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 3], ids=["one", "a chunk", "more"])
def test_node_by_node_it_computes_what_the_whole_does(count: int, tmp_path: Path) -> None:
    graph = OnnxGraph(toy_classifier(tmp_path).model)
    values: dict[str, Values] = {graph.input: toy_images(count, seed=1)}
    for node in graph.nodes:
        outputs = graph.run(node, {name: values[name] for name in graph.variables(node)}, {})
        values.update(zip(node.output, outputs, strict=True))
    (expected,) = ReferenceEvaluator(graph.model).run(None, {graph.input: values[graph.input]})
    np.testing.assert_allclose(values[graph.output], np.asarray(expected, np.float32), atol=1e-4)


def test_other_weights_come_in_place_of_the_graphs(graph: OnnxGraph) -> None:
    images = toy_images(3, seed=2)
    stem = graph.nodes[0]
    (doubled,) = graph.run(stem, {"pixels": images}, {"stem": 2 * graph.constants["stem"]})
    (once,) = graph.run(stem, {"pixels": images}, {})
    assert once.shape == (3, 8, *SHAPE[1:])
    np.testing.assert_allclose(doubled, 2 * once, rtol=1e-6)
    np.testing.assert_array_equal(graph.run(stem, {"pixels": images}, {})[0], once)


def test_a_node_that_takes_a_value_twice_is_given_it_once() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    found = OnnxGraph(
        helper.make_model(
            helper.make_graph([helper.make_node("Mul", ["x", "x"], ["y"])], "square", values[:1], values[1:]),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
    )
    (y,) = found.run(found.nodes[0], {"x": np.array([3, -2], np.float32)}, {})
    assert y.tolist() == [9, 4]


def test_attributes_by_name() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1], auto_pad="NOTSET")
    assert attributes(node) == {"group": 2, "pads": [1, 1, 1, 1], "auto_pad": b"NOTSET"}
    assert attributes(onnx.NodeProto()) == {}
