"""models/networks.py: the paper's sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import QuantizeInput
from models.networks import alex_net, cifar_conv, mnist_conv, resnet18, resnet20, small_cnn, wrn_16_4
from models.precision import Precision


@pytest.mark.parametrize("text", ["fp32", "w2a4", "w8a8"])
def test_mnist_conv_has_the_papers_size(text: str) -> None:
    network = mnist_conv(Precision.parse(text))
    assert sum(parameter.numel() for parameter in network.parameters()) == 709_888
    assert not [name for name, _ in network.named_parameters() if name.endswith("bias")]
    with torch.no_grad():
        assert freeze(network)(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_mnist_conv_quantizes_the_image_and_every_convolution_but_not_the_last_layer() -> None:
    layers = list(mnist_conv(Precision.parse("w2a4")))
    convolutions = [layer for layer in layers if isinstance(layer, QuantConv2d)]

    assert isinstance(layers[0], QuantizeInput) and layers[0].bits == 4
    assert [(c.weight_bits, c.in_bits, c.out_bits) for c in convolutions] == [(2, 4, 4), (2, 4, 4), (2, 4, None)]
    assert isinstance(layers[-1], nn.Linear)


def test_mnist_conv_in_full_precision_has_no_quantizer() -> None:
    kinds = {type(layer) for layer in mnist_conv(Precision.parse("fp32"))}
    assert kinds == {nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear}


def weights(*products: tuple[int, int]) -> int:
    return sum(outputs * inputs for outputs, inputs in products)


def residual_weights(widths: tuple[int, ...], blocks: int, stem: int) -> int:
    """Convolutions without biases, batch norms with two numbers a channel, and the last layer, summed by hand."""
    total, before = 9 * 3 * stem + 2 * stem, stem
    for stage, width in enumerate(widths):
        for block in range(blocks):
            total += 9 * before * width + 9 * width * width + 4 * width
            if before != width or (stage > 0 and block == 0):
                total += before * width + 2 * width
            before = width
    return total + 10 * before + 10


SIZES: dict[str, tuple[Callable[[Precision], nn.Sequential], tuple[int, int, int], int]] = {
    "cifar_conv": (cifar_conv, (3, 32, 32), weights((32, 75), (32, 800), (64, 800), (64, 576), (10, 64))),
    "alex_net": (
        alex_net,
        (3, 224, 224),
        weights((96, 432), (256, 1200), (384, 2304), (384, 1728), (256, 1728), (4096, 9216), (4096, 4096), (1000, 4096))
        + 2 * (256 + 384 + 384 + 256 + 4096 + 4096),
    ),
    "small_cnn": (
        small_cnn,
        (1, 28, 28),
        weights((32, 10), (32, 289), (64, 289), (64, 577), (200, 1025), (200, 201), (10, 201)),
    ),
    "resnet20": (resnet20, (3, 32, 32), residual_weights((16, 32, 64), 3, 16)),
    "resnet18": (resnet18, (3, 32, 32), residual_weights((64, 128, 256, 512), 2, 64)),
    "wrn_16_4": (wrn_16_4, (3, 32, 32), residual_weights((64, 128, 256), 2, 16)),
}


@pytest.mark.parametrize("name", SIZES)
def test_networks_have_the_sizes_of_their_papers(name: str) -> None:
    build, shape, expected = SIZES[name]
    network = build(Precision.parse("fp32")).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    with torch.no_grad():
        assert network(torch.rand(1, *shape)).shape == (1, 1000 if name == "alex_net" else 10)


def test_the_sizes_by_hand_are_those_that_are_published() -> None:
    """In millions: facts of the papers, not of this code."""
    published = {"cifar_conv": 0.117, "alex_net": 60.96, "resnet20": 0.27, "resnet18": 11.2, "wrn_16_4": 2.75}
    for name, millions in published.items():
        assert SIZES[name][2] / 1e6 == pytest.approx(millions, rel=0.01)
