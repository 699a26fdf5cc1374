"""Every kind of layer in a network of its own: both graphs on ONNX Runtime against torch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.graphs.gradient_graph import gradient_graph
from export.graphs.integer_graph import member_graph
from export.graphs.ways import Ways
from models.dorefa import FineConv2d, QuantConv2d, QuantConvAvgPool2d, QuantLinear
from models.folding import freeze
from models.integer import QuantizeInput
from models.precision import Precision
from models.quantization import quantized
from models.residual import Residual

Run = Callable[..., list[NDArray[np.float32]]]
PRECISIONS = ["fp32", "w8a8", "w4a4", "w4a2", "w2a2", "w1a1", "w2a4", "w3a5"]
SHAPE = (3, 11, 11)


def learned(precision: Precision) -> nn.Sequential:
    """Biases, batch norm, pools, residual blocks with and without a shortcut, linear layers."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
        Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))),
        Residual(
            nn.Sequential(nn.Conv2d(4, 6, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1)),
            nn.Sequential(nn.Conv2d(4, 6, 1, 2)),
        ),
        nn.Flatten(), nn.Linear(54, 12), nn.ReLU(), nn.Linear(12, 4),
    )  # fmt: skip
    return network if precision.is_float else quantized(network, precision, torch.rand(8, *SHAPE))


def global_pool(precision: Precision) -> nn.Sequential:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(),
        Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4),
    )  # fmt: skip
    return network if precision.is_float else quantized(network, precision, torch.rand(8, *SHAPE))


def dorefa(precision: Precision) -> nn.Sequential:
    """Groups of many and of few channels, batch norm, overlapping pools of both kinds, ceil_mode, linear layers."""
    head = [nn.Hardtanh(0, 1), nn.Linear(8, 4)]
    if precision.is_float:
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(32, 8, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(3, 2),
            nn.Conv2d(8, 4, 1, groups=4), nn.Flatten(), nn.Linear(16, 8), *head,
        )  # fmt: skip
    w, a = precision.weights, precision.activations
    return nn.Sequential(
        QuantizeInput(8), FineConv2d(3, 32, 3, stride=1, out_bits=a), nn.MaxPool2d(2, ceil_mode=True),
        QuantConv2d(32, 8, 3, padding=1, groups=2, weight_bits=w, in_bits=a, out_bits=a, batch_norm=True),
        QuantConvAvgPool2d(8, 8, 3, padding=1, pool=3, pool_stride=2, weight_bits=w, in_bits=a, out_bits=a),
        QuantConv2d(8, 4, 1, groups=4, weight_bits=w, in_bits=a, out_bits=a), nn.Flatten(),
        QuantLinear(16, 8, weight_bits=w, in_bits=a, out_bits=None, batch_norm=True), *head,
    )  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("build", [learned, global_pool, dorefa])
def test_both_graphs_agree_with_torch(
    build: Callable[[Precision], nn.Sequential], precision: str, run_graph: Run
) -> None:
    torch.manual_seed(0)
    network = build(Precision.parse(precision)).train()
    network(torch.rand(16, *SHAPE))  # batch norms and shifts see something
    network = freeze(network.eval())
    images = (torch.randint(0, 256, (6, *SHAPE)).float() / 255).requires_grad_()
    cotangents = torch.randn(6, 4)
    expected = network(images)
    (expected_gradient,) = torch.autograd.grad(expected, images, cotangents)
    given = {"image": images.detach().numpy()}

    (logits,) = run_graph(member_graph(network, SHAPE, "layers", Ways(few_bits_from=100)), **given)
    found, gradient = run_graph(gradient_graph(network, SHAPE, 4, "layers"), **given, cotangent=cotangents.numpy())
    scale = expected.abs().max().item()
    for values in (logits, found):
        np.testing.assert_allclose(values, expected.detach().numpy(), rtol=0, atol=1e-5 * scale)
    norm = expected_gradient.norm().item()
    assert np.linalg.norm(gradient - expected_gradient.numpy()) <= 1e-5 * norm
