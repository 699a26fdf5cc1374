"""models/quantization.py: which layers get which bits and share which scales, and that the function stays."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from models.integer import QuantizeInput
from models.learned import LearnedAvgPool2d, LearnedConv2d, LearnedDequantize, LearnedLinear, LearnedResidual
from models.precision import Precision
from models.quantization import EdgeBits, branch_unit, quantized
from models.residual import Residual

Learned = LearnedConv2d | LearnedLinear


def plain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip


def same(channels: int) -> Residual:
    """With an identity for a shortcut."""
    return Residual(
        nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 1))
    )


def wider(channels: int) -> Residual:
    branch = nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * channels, 2 * channels, 1)
    )
    return Residual(branch, nn.Sequential(nn.Conv2d(channels, 2 * channels, 1)))


def residual() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), same(2), same(2), wider(2), same(4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def learned(network: nn.Module) -> list[Learned]:
    return [module for module in network.modules() if isinstance(module, Learned)]


IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_first_and_last_layers_have_bits_of_their_own() -> None:
    network = quantized(plain(), Precision(3, 5), IMAGES)
    assert [layer.weight_bits for layer in learned(network)] == [8, 3, 3, 8]
    assert [layer.in_bits for layer in learned(network)] == [8, 5, 5, 5]
    assert [layer.output.bits for layer in learned(network)] == [5, 5, 5, None]
    assert isinstance(network[0], QuantizeInput) and network[0].bits == 8
    edges = quantized(plain(), Precision(3, 5), IMAGES, EdgeBits(first=6, last=4))
    assert [layer.weight_bits for layer in learned(edges)] == [6, 3, 3, 4]


def test_the_last_layer_behind_a_global_pool_is_quantized_where_it_has_bits() -> None:
    network = quantized(residual(), Precision(3, 4), IMAGES, EdgeBits(first=5, last=2))
    pool, flatten, last = list(network)[-3:]
    assert isinstance(pool, LearnedAvgPool2d) and isinstance(flatten, nn.Flatten) and isinstance(last, LearnedLinear)
    assert [layer.weight_bits for layer in learned(network)] == [5, *[3] * 9, 2]
    assert (pool.kernel, pool.output.bits, last.in_bits, last.output.bits) == (6, 8, 8, None)
    assert last.in_scale is pool.out_scale and pool.in_scale is learned(network)[-2].out_scale


def test_edges_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="edges: expected 1 to 8 bits each, got first=8, last=0"):
        EdgeBits(last=0)
    wide = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(TypeError, match="an average pool of 6 x 4: expected a square"):
        quantized(wide, Precision(4, 4), IMAGES[..., :6], EdgeBits(last=4))


def test_a_layer_takes_its_levels_by_the_scale_of_the_layer_before() -> None:
    layers = learned(quantized(plain(), Precision(4, 4), IMAGES))
    assert all(after.in_scale is before.out_scale for before, after in pairwise(layers))
    assert not layers[0].in_scale.log.requires_grad and layers[0].in_scale().item() == pytest.approx(1 / 255)
    assert layers[-1].out_scale is None


def test_a_stage_of_identity_shortcuts_shares_one_scale_and_behind_a_global_pool_all_is_float() -> None:
    network = quantized(residual(), Precision(4, 4), IMAGES)
    kinds = [type(layer) for layer in network]
    assert kinds[:2] == [QuantizeInput, LearnedConv2d] and kinds[2:6] == [LearnedResidual] * 4
    assert kinds[6:] == [LearnedDequantize, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]
    first, blocks = learned(network)[0], [layer for layer in network if isinstance(layer, LearnedResidual)]
    ends = [learned(block.branch)[-1].out_scale for block in blocks]
    assert ends[0] is ends[1] is first.out_scale and ends[2] is ends[3] is not ends[0]
    assert learned(blocks[2].shortcut)[0].out_scale is ends[2]
    assert all(learned(block.branch)[-1].output == (8, True) and block.unit == branch_unit(4) for block in blocks)


@pytest.mark.parametrize("edges", [EdgeBits(), EdgeBits(last=8)], ids=["edges as usual", "8 bits behind a pool"])
@pytest.mark.parametrize("build", [plain, residual])
def test_with_8_bits_the_function_is_nearly_that_of_the_float_network(
    build: Callable[[], nn.Sequential], edges: EdgeBits
) -> None:
    torch.manual_seed(1)
    network = build().eval()
    with torch.no_grad():
        expected, found = network(IMAGES), quantized(network, Precision(8, 8), IMAGES, edges).eval()(IMAGES)
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_fewer_bits_lose_more() -> None:
    torch.manual_seed(1)
    network = plain().eval()
    with torch.no_grad():
        expected = network(IMAGES)
        errors = [
            (quantized(network, Precision(bits, bits), IMAGES).eval()(IMAGES) - expected).norm() for bits in (2, 4, 8)
        ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_branchs_unit_is_a_power_of_two_that_leaves_room(bits: int) -> None:
    unit = branch_unit(bits)
    assert unit & (unit - 1) == 0
    assert unit * (1 << bits) <= 128 or unit == 1


def test_a_layer_without_a_rule_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^no rule to quantize Sigmoid$"):
        quantized(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid()), Precision(4, 4), IMAGES)
