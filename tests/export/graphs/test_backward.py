"""export/graphs/backward.py: transposes of convolutions and of windows, against torch's own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from export.graphs.backward import FEWEST_CHANNELS, from_taps, masked, transposed_convolution
from export.graphs.geometry import Window
from export.graphs.graph import GraphBuilder, Shape

Run = Callable[..., list[NDArray[np.float32]]]
FILTERS = 3
"""Of each group."""


def integers(*shape: int) -> Tensor:
    """Small ones, so that sums are exact in whatever order they are added."""
    return torch.randint(-8, 9, shape).float()


@st.composite
def windows(draw: st.DrawFn, most_channels: int) -> tuple[Window, Shape]:
    """A window over an image [C, H, W] in which it has a place."""
    groups, kernel = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 5))
    shape = (groups * draw(st.integers(1, most_channels)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    padding = draw(st.integers(0, 3))
    assume(min(shape[1:]) + 2 * padding >= kernel)
    return Window(kernel, draw(st.integers(1, 4)), padding, groups), shape


def convolution(window: Window, shape: Shape, run: Run) -> tuple[NDArray[np.float32], NDArray[np.float32], set[str]]:
    """The gradient with respect to an image of `shape`, by the graph and by torch, and the graph's operators."""
    weight = integers(FILTERS * window.groups, shape[0] // window.groups, window.kernel, window.kernel)
    dy = integers(2, len(weight), *window.counts(shape))
    graph = GraphBuilder()
    backward = transposed_convolution(graph, window, shape, graph.constant(weight.numpy(), np.float32), weight)
    graph.output(backward(graph.input("dy", tuple(dy.shape[1:]))), "dx", shape)
    model = graph.build("transposed")
    (found,) = run(model, dy=dy.numpy())
    image = torch.zeros(2, *shape, requires_grad=True)
    there = functional.conv2d(image, weight, None, window.stride, window.padding, groups=window.groups)
    (expected,) = torch.autograd.grad(there, image, dy)
    return found, expected.numpy(), {node.op_type for node in model.graph.node}


@settings(max_examples=80)
@given(where=windows(2 * FEWEST_CHANNELS), seed=st.integers(0, 2**32 - 1))
def test_a_transposed_convolution_is_torchs(where: tuple[Window, Shape], seed: int, run_graph: Run) -> None:
    torch.manual_seed(seed)
    found, expected, _ = convolution(*where, run_graph)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("window", "shape", "operator"),
    [
        (Window(5, 2), (3, 5, 5), "MatMul"),
        (Window(3, 1, 1), (FEWEST_CHANNELS, 6, 7), "Conv"),
        (Window(3, 1, 2, groups=2), (2 * FEWEST_CHANNELS, 6, 7), "Conv"),
        (Window(3, 1, 3), (FEWEST_CHANNELS, 6, 7), "ConvTranspose"),
        (Window(3, 1, 1), (FEWEST_CHANNELS - 1, 6, 7), "ConvTranspose"),
        (Window(3, 2, 1), (FEWEST_CHANNELS, 6, 7), "ConvTranspose"),
    ],
    ids=["covering", "stride 1", "groups", "padding of a kernel", "few channels", "stride 2"],
)
def test_the_fastest_way_to_the_same_numbers_is_chosen(
    window: Window, shape: Shape, operator: str, run_graph: Run
) -> None:
    torch.manual_seed(0)
    found, expected, operators = convolution(window, shape, run_graph)
    assert operators & {"MatMul", "Conv", "ConvTranspose"} == {operator}
    np.testing.assert_array_equal(found, expected)


def folded(taps: dict[tuple[int, int], Tensor], window: Window, shape: Shape) -> Tensor:
    """The same by torch's fold, on an image large enough for a window that reaches beyond."""
    k, padding = window.kernel, window.padding
    whole = [(count - 1) * window.stride + k for count in window.counts(shape)]
    like = next(iter(taps.values()))
    places = [taps.get((row, column), torch.zeros_like(like)) for row in range(k) for column in range(k)]
    columns = torch.stack(places, dim=2).flatten(1, 2).flatten(2)
    image = functional.fold(columns, (whole[0], whole[1]), k, stride=window.stride)
    height, width = shape[1:]
    more = [0, max(0, padding + width - whole[1]), 0, max(0, padding + height - whole[0])]
    return functional.pad(image, more)[:, :, padding : padding + height, padding : padding + width]


@settings(max_examples=80)
@given(where=windows(3), ceil=st.booleans(), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_taps_are_put_where_torch_folds_them(
    where: tuple[Window, Shape], ceil: bool, data: st.DataObject, seed: int, run_graph: Run
) -> None:
    """Of some places of the kernel, as a pool has it whose other places nothing reaches."""
    drawn, shape = where
    window = Window(drawn.kernel, drawn.stride, min(drawn.padding, drawn.kernel // 2), ceil=ceil)
    assume(min(shape[1:]) + 2 * window.padding >= window.kernel)
    torch.manual_seed(seed)
    every = [(row, column) for row in range(window.kernel) for column in range(window.kernel)]
    chosen = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    taps = {place: integers(2, shape[0], *window.counts(shape)) for place in chosen}
    graph = GraphBuilder()
    names = {place: graph.input(f"tap_{place[0]}_{place[1]}", tuple(tap.shape[1:])) for place, tap in taps.items()}
    graph.output(from_taps(graph, names, window, shape), "dx", shape)
    (found,) = run_graph(graph.build("taps"), **{names[place]: tap.numpy() for place, tap in taps.items()})
    np.testing.assert_array_equal(found, folded(taps, window, shape).numpy())


def test_a_mask_lets_a_gradient_through_or_makes_it_0(run_graph: Run) -> None:
    graph, x = GraphBuilder(), np.array([[-1.0, 0.0, 2.0]], np.float32)
    gradient = graph.input("gradient", (3,))
    where = graph.node("Greater", graph.input("x", (3,)), graph.constant(0, np.float32))
    graph.output(masked(graph, gradient, where), "masked", (3,))
    (found,) = run_graph(graph.build("mask"), gradient=np.array([[5.0, 6.0, 7.0]], np.float32), x=x)
    np.testing.assert_array_equal(found, [[0, 0, 7]])
