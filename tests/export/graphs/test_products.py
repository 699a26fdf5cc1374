"""export/graphs/products.py: sums of integer levels on ONNX Runtime, against integer arithmetic in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto

from export.graphs.graph import GraphBuilder
from export.graphs.products import (
    FEWEST_APART,
    SIGNED_ZERO,
    Product,
    Stored,
    as_floats,
    as_levels,
    exact_sums,
    flattened,
    integer_product,
    level_limits,
    out_shape,
    zero_point,
)
from models.integer import FLOATS, IntegerConv2d, IntegerLinear, Output

Run = Callable[..., list[NDArray[np.float32]]]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """A layer, and levels [N, ...] for it; signed ones are held with the zero point 128."""

    layer: Product
    levels: Integers
    signed: bool

    def sums(self) -> Integers:
        """The sums of all products, and the bias, in int64."""
        weight = self.layer.weight.numpy().astype(np.int64)
        if isinstance(self.layer, IntegerConv2d):
            sums = convolved(self.levels, weight, self.layer.stride, self.layer.padding, self.layer.groups)
        else:
            sums = self.levels @ weight.T
        if self.layer.bias is not None:
            sums = sums + broadcast(self.layer.bias.numpy().astype(np.int64), sums.ndim)
        return sums

    def written(self, zero: int | None, *, sums_alone: bool = False) -> GraphBuilder:
        """A graph from the levels, as floats, to what the layer gives, as floats."""
        graph, shape = GraphBuilder(), self.levels.shape[1:]
        held, offset = graph.input("levels", shape), SIGNED_ZERO if self.signed else 0
        shifted = graph.node("Add", held, graph.constant(offset, np.float32))
        x = graph.node("Cast", shifted, to=TensorProto.UINT8, shape=shape, zero_point=offset)
        stored = Stored.of(self.layer, graph)
        y = exact_sums(stored, graph, x) if sums_alone else integer_product(stored, graph, x, zero)
        graph.output(as_floats(graph, y), "y", out_shape(self.layer, shape))
        return graph

    def run(self, zero: int | None, run: Run, *, sums_alone: bool = False) -> NDArray[np.float32]:
        model = self.written(zero, sums_alone=sums_alone).build("product")
        (found,) = run(model, levels=self.levels.astype(np.float32))
        return found


def convolved(levels: Integers, weight: Integers, stride: int, padding: int, groups: int) -> Integers:
    padded = np.pad(levels, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    parts = []
    for x, w in zip(np.split(padded, groups, axis=1), np.split(weight, groups), strict=True):
        places = sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
        parts.append(np.einsum("nchwij,ocij->nohw", places, w))
    return np.concatenate(parts, axis=1)


def broadcast(values: NDArray[Any], axes: int) -> NDArray[Any]:
    return values.reshape(-1, *[1] * (axes - 2)) if values.ndim else values


def rounded(case: Case, zero: int) -> NDArray[np.float32]:
    """One float32 product, rounded half to even, in 0..255 around the zero point; as levels."""
    sums = case.sums()
    scaled = sums.astype(np.float32) * broadcast(case.layer.multiplier.numpy(), sums.ndim)
    return np.asarray(np.clip(np.rint(scaled) + zero, 0, 255) - zero)


def odd(bits: int, *shape: int) -> torch.Tensor:
    n = (1 << bits) - 1
    return 2.0 * torch.randint(0, n + 1, shape) - n


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Convolutions, covering ones among them, and linear layers, of 1 to 4 bits."""
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    bits, in_bits, signed = draw(st.integers(1, 4)), draw(st.integers(1, 8)), draw(st.booleans())
    groups, channels, filters = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    multiplier = torch.rand(filters * groups if draw(st.booleans()) else ()) / (1 << bits)
    bias = torch.randint(-99, 100, (filters * groups,)).float() if draw(st.booleans()) else None
    low, high = (-(1 << (in_bits - 1)), 1 << (in_bits - 1)) if signed else (0, 1 << in_bits)
    if draw(st.booleans()):
        weight = odd(bits, filters * groups, channels)
        linear = IntegerLinear(
            weight, multiplier, bias, weight_bits=bits, in_bits=in_bits, output=Output(8), grid="odd"
        )
        return Case(linear, torch.randint(low, high, (3, channels)).numpy(), signed)
    kernel, padding = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    side = kernel if draw(st.booleans()) else draw(st.integers(kernel, 7))
    conv = IntegerConv2d(
        odd(bits, filters * groups, channels, kernel, kernel), multiplier, bias, stride=draw(st.integers(1, 3)),
        padding=padding, groups=groups, weight_bits=bits, in_bits=in_bits, output=Output(8),
    )  # fmt: skip
    return Case(conv, torch.randint(low, high, (2, channels * groups, side, side)).numpy(), signed)


@settings(max_examples=100)
@given(case=cases(), zero=st.sampled_from([0, SIGNED_ZERO]))
def test_a_product_is_the_rounded_sums(case: Case, zero: int, run_graph: Run) -> None:
    np.testing.assert_array_equal(case.run(zero, run_graph), rounded(case, zero))


@settings(max_examples=60)
@given(case=cases().filter(lambda case: isinstance(case.layer, IntegerConv2d)))
def test_sums_are_exact(case: Case, run_graph: Run) -> None:
    np.testing.assert_array_equal(case.run(None, run_graph, sums_alone=True), case.sums())


def test_sums_that_float32_does_not_hold_are_rounded_once(run_graph: Run) -> None:
    """Two halves of 4 bits each, added as integers: float32 sums of the whole would err on the way."""
    torch.manual_seed(0)
    layer = IntegerConv2d(
        torch.randint(90, 128, (2, 600, 3, 3)).float(), torch.tensor(1.0), torch.tensor([3.0, -5.0]), stride=1,
        padding=0, weight_bits=8, in_bits=8, output=FLOATS, grid="symmetric",
    )  # fmt: skip
    case = Case(layer, torch.randint(200, 256, (1, 600, 4, 4)).numpy(), signed=False)
    assert layer.sum_dtype == torch.float64 and case.sums().min() > 2**24
    assert (case.sums().astype(np.float32) != case.sums()).any()
    np.testing.assert_array_equal(case.run(None, run_graph, sums_alone=True), case.sums().astype(np.float32))


def test_a_linear_layer_may_give_floats(run_graph: Run) -> None:
    torch.manual_seed(0)
    layer = IntegerLinear(
        odd(2, 4, 30), torch.rand(4), torch.randint(-9, 10, (4,)).float(), weight_bits=2, in_bits=4, output=FLOATS,
        grid="odd",
    )  # fmt: skip
    case = Case(layer, torch.randint(0, 16, (5, 30)).numpy(), signed=False)
    np.testing.assert_array_equal(case.run(None, run_graph), case.sums().astype(np.float32) * layer.multiplier.numpy())


@pytest.mark.parametrize(("channels", "kernels"), [(FEWEST_APART, 2), (FEWEST_APART - 1, 1)], ids=["large", "small"])
def test_large_groups_are_convolutions_of_their_own(channels: int, kernels: int, run_graph: Run) -> None:
    torch.manual_seed(0)
    layer = IntegerConv2d(
        odd(2, 6, channels, 3, 3), torch.rand(6) / 9, torch.randint(-9, 10, (6,)).float(), stride=1, padding=1,
        groups=2, weight_bits=2, in_bits=4, output=Output(8),
    )  # fmt: skip
    case = Case(layer, torch.randint(0, 16, (2, 2 * channels, 5, 5)).numpy(), signed=False)
    operators = [node.op_type for node in case.written(0).build("groups").graph.node]
    assert operators.count("QLinearConv") == kernels
    np.testing.assert_array_equal(case.run(0, run_graph), rounded(case, 0))


def test_levels_become_floats_and_levels_again_and_lie_flat(run_graph: Run) -> None:
    graph, levels = GraphBuilder(), np.arange(12, dtype=np.float32).reshape(2, 2, 1, 3)
    held = as_levels(graph, graph.input("x", (2, 1, 3)))
    assert graph.zero_point_of(held) == 0 and as_levels(graph, held) == held
    flat = flattened(graph, held)
    assert (graph.shape_of(flat), graph.zero_point_of(flat), flattened(graph, flat)) == ((6,), 0, flat)
    back = as_floats(graph, flat)
    assert graph.zero_point_of(back) is None and as_floats(graph, back) == back
    graph.output(back, "y", (6,))
    (found,) = run_graph(graph.build("levels"), x=levels)
    np.testing.assert_array_equal(found, levels.reshape(2, 6))


@pytest.mark.parametrize(
    ("output", "zero", "limits"),
    [(Output(2), 0, (0, 3)), (Output(8), 0, (0, 255)), (Output(4, signed=True), 128, (120, 135))],
    ids=["w2", "w8", "signed"],
)
def test_limits_are_uint8_around_the_zero_point(output: Output, zero: int, limits: tuple[int, int]) -> None:
    graph = GraphBuilder()
    assert zero_point(output) == zero
    names = level_limits(graph, output, zero)
    stored = {tensor.name: tensor for tensor in graph._initializers.values()}
    assert [stored[name].raw_data[0] for name in names] == list(limits)
    assert {stored[name].data_type for name in names} == {TensorProto.UINT8}
