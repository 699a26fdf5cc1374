"""models/networks.py: the paper's sizes."""

import pytest
import torch
from torch import nn

from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import QuantizeInput
from models.networks import mnist_conv
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
