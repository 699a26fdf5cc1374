"""export/graphs/few_channels.py: the kernel's rows as channels, the same sums."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from export.graphs.few_channels import TOGETHER, fits
from export.graphs.integer_graph import member_graph
from models.integer import Dequantize, IntegerConv2d, Output, QuantizeInput

Run = Callable[..., list[NDArray[np.float32]]]


def convolution(
    channels: int, kernel: int, stride: int = 1, padding: int = 0, *, bits: int = 4, groups: int = 1
) -> IntegerConv2d:
    """Random odd levels, three filters a group, a multiplier for each and a bias."""
    n, filters = (1 << bits) - 1, 3 * groups
    weight = 2 * torch.randint(0, n + 1, (filters, channels // groups, kernel, kernel)).float() - n
    return IntegerConv2d(
        weight,
        torch.rand(filters) * 0.9 / (n * kernel),
        torch.randint(-9, 10, (filters,)).float(),
        stride=stride,
        padding=padding,
        weight_bits=bits,
        in_bits=bits,
        output=Output(bits),
        groups=groups,
    )


@settings(max_examples=60)
@given(
    channels=st.integers(1, 5),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    bits=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_levels_are_those_of_torch(
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bits: int,
    seed: int,
    run_graph: Run,
) -> None:
    torch.manual_seed(seed)
    conv = convolution(channels, kernel, stride, padding, bits=bits)
    network = nn.Sequential(QuantizeInput(bits), conv, Dequantize(torch.tensor(1.0)), nn.Flatten())
    images = torch.rand(3, channels, *size)
    model = member_graph(network, (channels, *size), "drawn")

    (found,) = run_graph(model, image=images.numpy())

    np.testing.assert_array_equal(found, network(images).numpy())
    assert ("Gather" in {node.op_type for node in model.graph.node}) == fits(conv)


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        pytest.param(convolution(1, 8, 2, 3), True, id="mnist_conv"),
        pytest.param(convolution(3, 3), True, id="colour"),
        pytest.param(convolution(TOGETHER, 3), False, id="a whole four of channels"),
        pytest.param(convolution(3, 1), False, id="kernel of one row"),
        pytest.param(convolution(2, 3, groups=2), False, id="groups"),
    ],
)
def test_few_channels_and_several_rows_fit(conv: IntegerConv2d, expected: bool) -> None:
    assert fits(conv) is expected
