"""export/graphs/graph.py: what the builder stores is what ONNX Runtime reads."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export.graphs.graph import OPSET, GraphBuilder

Run = Callable[..., list[NDArray[np.float32]]]


def test_equal_constants_are_stored_once_unless_they_must_not_be() -> None:
    graph = GraphBuilder()
    assert graph.constant([0, 0], np.float32) == graph.constant([0, 0], np.float32)
    different = {
        graph.constant([0, 0], np.float32),
        graph.constant([0, 0], np.int32),
        graph.constant([[0, 0]], np.float32),
        graph.constant([0, 1], np.float32),
        graph.constant([0, 0], np.float32, shared=False),
        graph.constant([0, 0], np.float32, shared=False),
    }
    assert len(different) == 6


def test_a_model_says_who_made_it_for_which_opset() -> None:
    graph = GraphBuilder()
    graph.output(graph.node("Relu", graph.input("x", (2,))), "y", (2,))
    model = graph.build("tiny")
    assert (model.graph.name, model.producer_name) == ("tiny", "empir-serve")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]


def test_an_invalid_graph_is_refused_when_it_is_built() -> None:
    graph = GraphBuilder()
    graph.output(graph.node("Relu", "nowhere"), "y", (2,))
    with pytest.raises(onnx.checker.ValidationError, match="nowhere"):
        graph.build("broken")


def test_parameters_have_their_path_and_no_two_the_same() -> None:
    graph = GraphBuilder()
    with graph.inside("5"), graph.inside("branch"):
        assert graph.parameter("weight", np.zeros(2, np.float32)) == "5.branch.weight"
        with pytest.raises(ValueError, match=r"expected one tensor of the name 5\.branch\.weight"):
            graph.parameter("weight", np.ones(2, np.float32))
    assert graph.parameter("weight", np.zeros(2, np.float32)) == "weight"
