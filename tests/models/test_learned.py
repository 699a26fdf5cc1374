"""models/learned.py: freezing changes nothing, and LSQ's gradients against its formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.folding import freeze
from models.learned import best_scales, symmetric_top, weight_levels
from models.precision import Precision
from models.quantization import EdgeBits, quantized
from models.residual import Residual


def small(precision: Precision, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))),
        nn.Flatten(), nn.Linear(27, 5), nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip
    return quantized(network, precision, torch.rand(4, 1, 6, 6))


@settings(max_examples=64)
@given(weights=st.integers(1, 8), activations=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_a_frozen_network_gives_the_same_numbers(weights: int, activations: int, seed: int) -> None:
    network = small(Precision(weights, activations), seed).eval()
    images = torch.rand(5, 1, 6, 6)
    with torch.no_grad():
        assert torch.equal(freeze(network)(images), network(images))


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_gradient_of_a_weight_scale_is_that_of_lsq(bits: int) -> None:
    """d(s round(w / s)) / ds: round(w / s) - w / s within the range, the top level's sign beyond it."""
    torch.manual_seed(bits)
    weight, top = torch.randn(2, 40), symmetric_top(bits)
    scale = (best_scales(weight, bits) * 0.7).requires_grad_()
    values: Tensor = weight_levels(weight, scale, bits) * scale[:, None]
    (found,) = torch.autograd.grad(values.sum(), scale)

    ratio = weight / scale.detach()[:, None]
    expected = torch.where(ratio.abs() <= top, ratio.round() - ratio, ratio.sign() * top).sum(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (ratio.abs() > top).any()


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_bias_of_a_channel_whose_weights_are_next_to_nothing_is_kept(bits: int) -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[0], layer.bias[0] = 1e-12, 0.5
        network = quantized(nn.Sequential(layer), Precision(bits, 8), torch.rand(4, 3), EdgeBits(first=bits)).eval()
        for each in (network, freeze(network)):
            torch.testing.assert_close(each(torch.rand(5, 3))[:, 0], torch.full((5,), 0.5), rtol=1e-5, atol=0)


def test_of_one_bit_no_scale_is_better_than_the_best() -> None:
    """The range in which more bits look for theirs does not hold it."""
    weight = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))

    def error(scale: Tensor) -> Tensor:
        return (weight_levels(weight, scale, 1) * scale[:, None] - weight).square().sum(dim=1)

    best = error(best_scales(weight, 1))
    for share in torch.linspace(0.01, 1, 200):
        assert (error(weight.abs().amax(dim=1) * share) >= best * (1 - 1e-5)).all()
