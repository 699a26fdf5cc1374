"""export/graphs/first_layer.py: the same function, with stride 1 in the first layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from export.graphs.first_layer import SpaceToDepth, fold_first_layer
from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import IntegerConv2d, QuantizeInput
from models.networks import mnist_conv
from models.precision import Precision


def network(channels: int, kernel: int, stride: int, padding: int, bits: int) -> nn.Sequential:
    conv = QuantConv2d(
        channels, 3, kernel, stride=stride, padding=padding, weight_bits=bits, in_bits=bits, out_bits=bits
    )
    return freeze(nn.Sequential(QuantizeInput(bits), conv))


@settings(max_examples=60)
@given(
    channels=st.integers(1, 3),
    stride=st.integers(2, 4),
    multiple=st.integers(1, 3),
    padding=st.integers(0, 3),
    size=st.tuples(st.integers(3, 5), st.integers(3, 5)),
    bits=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_folded_network_computes_the_same(
    channels: int, stride: int, multiple: int, padding: int, size: tuple[int, int], bits: int, seed: int
) -> None:
    torch.manual_seed(seed)
    original = network(channels, stride * multiple, stride, padding, bits)
    height, width = (stride * blocks + -2 * padding % stride for blocks in size)
    folded = fold_first_layer(original, (channels, height, width))
    images = torch.rand(4, channels, height, width)

    assert torch.equal(folded(images), original(images))
    assert (folded is original) == (channels * stride**2 > 16)


def test_the_first_layer_of_mnist_conv_is_folded() -> None:
    folded = fold_first_layer(freeze(mnist_conv(Precision.parse("w2a4"))), (1, 28, 28))
    first, second, third = folded[0], folded[1], folded[2]
    assert isinstance(first, SpaceToDepth) and isinstance(second, QuantizeInput) and isinstance(third, IntegerConv2d)
    assert (tuple(third.weight.shape), third.stride, third.padding) == ((64, 4, 4, 4), 1, 0)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "size"),
    [
        pytest.param(1, 3, 1, 8, id="stride 1"),
        pytest.param(1, 3, 2, 8, id="stride not a divisor of the kernel"),
        pytest.param(1, 4, 2, 9, id="blocks do not fill the image"),
        pytest.param(5, 4, 2, 8, id="many channels"),
    ],
)
def test_where_it_is_not_possible_or_no_use_the_network_stays(
    channels: int, kernel: int, stride: int, size: int
) -> None:
    original = network(channels, kernel, stride, 0, 4)
    assert fold_first_layer(original, (channels, size, size)) is original


def test_a_float_network_stays() -> None:
    original = freeze(mnist_conv(Precision.parse("fp32")))
    assert fold_first_layer(original, (1, 28, 28)) is original
