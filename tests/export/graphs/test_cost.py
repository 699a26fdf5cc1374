"""export/graphs/cost.py against products by hand."""

import pytest
from torch import nn

from export.graphs.cost import bit_operations, multiply_accumulates
from models.folding import freeze
from models.networks import alex_net, cifar_conv, mnist_conv, resnet20
from models.precision import Precision

MNIST_CONV = [64 * 8 * 8 * 14 * 14, 128 * 64 * 6 * 6 * 5 * 5, 128 * 128 * 5 * 5]


def frozen(network: nn.Sequential) -> nn.Sequential:
    return freeze(network.eval())


@pytest.mark.parametrize("precision", ["w2a4", "fp32"])
def test_of_mnist_conv(precision: str) -> None:
    network = frozen(mnist_conv(Precision.parse(precision)))
    assert multiply_accumulates(network, (1, 28, 28)) == sum(MNIST_CONV) + 128 * 10 == 8_586_496
    bits = 2 * 4 if precision == "w2a4" else 32 * 32
    assert bit_operations(network, (1, 28, 28)) == sum(MNIST_CONV) * bits + 128 * 10 * 32 * 32


def test_pools_shrink_what_follows() -> None:
    by_hand = 32 * 75 * 32**2 + 32 * 800 * 15**2 + 64 * 800 * 7**2 + 576 * 64 + 64 * 10
    for precision in ("fp32", "w4a2"):
        assert multiply_accumulates(frozen(cifar_conv(Precision.parse(precision))), (3, 32, 32)) == by_hand


def test_both_parts_of_a_residual_block_count() -> None:
    stages = 3 * 6 * 9 * 16 * 16 * 32**2 - 2 * 9 * 16 * 16 * 32**2 // 2  # the first of a stage has half the channels
    shortcuts = 32 * 16 * 16**2 + 64 * 32 * 8**2
    by_hand = 16 * 27 * 32**2 + stages + shortcuts + 64 * 10
    for precision in ("fp32", "w4a4"):
        assert multiply_accumulates(frozen(resnet20(Precision.parse(precision))), (3, 32, 32)) == by_hand


def test_a_group_sees_its_own_channels_alone() -> None:
    network = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(96, 5))
    assert multiply_accumulates(network, (4, 4, 4)) == 6 * 2 * 9 * 16 + 96 * 5


def test_alex_nets_are_the_papers() -> None:
    assert multiply_accumulates(frozen(alex_net(Precision.parse("w2a2"), classes=10)), (3, 224, 224)) == pytest.approx(
        1.94e9, rel=0.01
    )
