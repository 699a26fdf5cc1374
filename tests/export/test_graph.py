"""export/graph.py: what the builder stores is what ONNX Runtime reads."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto

from export.graph import OPSET, GraphBuilder

Run = Callable[..., list[NDArray[np.float32]]]


@settings(max_examples=60)
@given(
    bits=st.integers(1, 8),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    dtype=st.sampled_from([TensorProto.INT8, TensorProto.FLOAT]),
    seed=st.integers(0, 2**32 - 1),
)
def test_packed_levels_unpack_to_themselves(
    bits: int, shape: tuple[int, ...], dtype: int, seed: int, run_graph: Run
) -> None:
    n, generator = 2**bits - 1, np.random.default_rng(seed)
    levels = generator.integers(-127, 128, shape) if bits == 8 else 2 * generator.integers(0, n + 1, shape) - n
    graph = GraphBuilder()
    packed = graph.node("Cast", graph.packed_levels(levels.astype(np.float32), bits, dtype), to=TensorProto.FLOAT)
    graph.output(graph.node("Add", graph.input("zero", shape), packed), "levels", shape)
    (found,) = run_graph(graph.build("packed"), zero=np.zeros((1, *shape), np.float32))
    np.testing.assert_array_equal(found[0], levels)


@pytest.mark.parametrize("levels", [[0.0, 1.0], [0.5, 1.0], [-5.0, 1.0], [3.0, 5.0]])
def test_levels_that_are_not_dorefas_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="expected odd integers of -3 to 3 as 2-bit levels"):
        GraphBuilder().packed_levels(np.array(levels, np.float32), 2, TensorProto.INT8)


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
