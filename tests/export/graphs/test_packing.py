"""export/graphs/packing.py: levels in as few bits as they need, and back."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto

from export.graphs.graph import GraphBuilder
from export.graphs.packing import pack, packed_levels, unpack
from models.integer import Grid

Run = Callable[..., list[NDArray[np.float32]]]


def random_levels(bits: int, grid: Grid, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    n, generator = 2**bits - 1, np.random.default_rng(seed)
    if grid == "odd" and bits < 8:
        odd: NDArray[np.float32] = (2 * generator.integers(0, n + 1, shape) - n).astype(np.float32)
        return odd
    top = max(1, n // 2)
    levels: NDArray[np.float32] = generator.integers(-top, top + 1, shape).astype(np.float32)
    return levels


@settings(max_examples=60)
@given(
    bits=st.integers(1, 8) | st.just(16),
    grid=st.sampled_from(["odd", "symmetric"]),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)
def test_packed_levels_unpack_to_themselves(
    bits: int, grid: Grid, shape: tuple[int, ...], seed: int, run_graph: Run
) -> None:
    levels = random_levels(bits, grid, shape, seed)
    np.testing.assert_array_equal(unpack(pack(levels, bits, grid), bits, grid), levels)

    graph = GraphBuilder()
    packed = graph.node("Cast", packed_levels(graph, "weight", levels, bits, grid), to=TensorProto.FLOAT)
    graph.output(graph.node("Add", graph.input("zero", shape), packed), "levels", shape)
    (found,) = run_graph(graph.build("packed"), zero=np.zeros((1, *shape), np.float32))
    np.testing.assert_array_equal(found[0], levels)


@pytest.mark.parametrize("levels", [[0.0, 1.0], [0.5, 1.0], [-5.0, 1.0], [3.0, 5.0]])
def test_levels_that_are_not_dorefas_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="expected odd integers of -3 to 3 as 2-bit levels"):
        pack(np.array(levels, np.float32), 2, "odd")


@pytest.mark.parametrize("levels", [[0.5], [4.0], [-4.0]])
def test_levels_that_are_not_symmetric_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="expected integers of -3 to 3 as 3-bit levels"):
        pack(np.array(levels, np.float32), 3, "symmetric")
