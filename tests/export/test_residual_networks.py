"""ResNet-20, ResNet-18 and WRN-16-4, thin ones: torch, the int8 graph and the gradient graph have the same sums."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.graphs.gradient_graph import gradient_graph
from export.graphs.integer_graph import member_graph
from models.folding import freeze
from models.integer import Dequantize, IntegerAvgPool2d, IntegerLinear
from models.networks import resnet, resnet18, resnet20, wrn_16_4
from models.precision import Precision
from models.quantization import EdgeBits, quantized

Run = Callable[..., list[NDArray[np.float32]]]
SHAPE, CLASSES, IMAGES = (3, 16, 16), 10, 5
THIN: dict[str, Callable[[], nn.Sequential]] = {
    "resnet20": lambda: resnet(Precision(32, 32), widths=(4, 6, 8), blocks=3, image_shape=SHAPE),
    "resnet18": lambda: resnet(Precision(32, 32), widths=(4, 6, 8, 10), blocks=2, image_shape=SHAPE),
    "wrn_16_4": lambda: resnet(Precision(32, 32), widths=(8, 12, 16), blocks=2, stem=4, image_shape=SHAPE),
}


def trained(build: Callable[[], nn.Sequential]) -> nn.Sequential:
    """Random weights whose batch norms have seen something, so that folding them matters."""
    torch.manual_seed(0)
    network = build().train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(16, *SHAPE))
    return network.eval()


def levels_of(network: nn.Sequential) -> nn.Sequential:
    """The frozen network up to the levels that its average pool takes: flattened, as floats."""
    (end,) = (index for index, layer in enumerate(network) if isinstance(layer, Dequantize))
    return nn.Sequential(*list(network)[:end], Dequantize(torch.tensor(1.0)), nn.Flatten())


def assert_the_same_answers(network: nn.Sequential, run_graph: Run) -> None:
    """Of torch, the member graph and the gradient graph: classes, logits and gradients of random images."""
    images = (torch.randint(0, 256, (IMAGES, *SHAPE)).float() / 255).requires_grad_()
    given, cotangents = {"image": images.detach().numpy()}, torch.randn(IMAGES, CLASSES)
    logits = network(images)
    (expected,) = torch.autograd.grad(logits, images, cotangents)
    (served,) = run_graph(member_graph(network, SHAPE, "member"), **given)
    attacked, gradient = run_graph(
        gradient_graph(network, SHAPE, CLASSES, "member"), **given, cotangent=cotangents.numpy()
    )
    for found in (served, attacked):
        np.testing.assert_array_equal(found.argmax(axis=1), logits.argmax(dim=1).numpy())
        np.testing.assert_allclose(found, logits.detach().numpy(), rtol=0, atol=1e-5 * logits.abs().max().item())
    assert np.linalg.norm(gradient - expected.numpy()) <= 1e-5 * expected.norm().item()


@pytest.mark.parametrize("precision", ["w8a8", "w4a4", "w2a4", "w1a2"])
@pytest.mark.parametrize("build", [pytest.param(build, id=name) for name, build in THIN.items()])
def test_both_graphs_have_torchs_integers_classes_and_gradients(
    build: Callable[[], nn.Sequential], precision: str, run_graph: Run
) -> None:
    network = freeze(quantized(trained(build), Precision.parse(precision), torch.rand(16, *SHAPE)))
    images = (torch.randint(0, 256, (IMAGES, *SHAPE)).float() / 255).requires_grad_()
    given = {"image": images.detach().numpy()}

    inside = levels_of(network)
    levels = inside(images).detach().numpy()
    assert len(np.unique(levels)) > 2
    (served,) = run_graph(member_graph(inside, SHAPE, "levels"), **given)
    np.testing.assert_array_equal(served, levels)
    graph = gradient_graph(inside, SHAPE, levels.shape[1], "levels")
    attacked, _ = run_graph(graph, **given, cotangent=np.zeros_like(levels))
    np.testing.assert_array_equal(attacked, levels)

    assert_the_same_answers(network, run_graph)


@pytest.mark.parametrize("precision", ["w4a4", "w2a2"])
@pytest.mark.parametrize("edges", [EdgeBits(first=4, last=8), EdgeBits(first=2, last=2), EdgeBits(1, 1)], ids=str)
def test_a_network_whose_last_layer_is_quantized_too_runs_on_integers_to_the_end(
    edges: EdgeBits, precision: str, run_graph: Run
) -> None:
    network = freeze(quantized(trained(THIN["resnet20"]), Precision.parse(precision), torch.rand(16, *SHAPE), edges))
    assert [type(layer) for layer in list(network)[-3:]] == [IntegerAvgPool2d, nn.Flatten, IntegerLinear]
    assert [network[index].weight_bits for index in (1, -1)] == [edges.first, edges.last]
    assert_the_same_answers(network, run_graph)


def test_the_builders_hand_edges_on() -> None:
    for build in (resnet20, resnet18, wrn_16_4):
        network = build(Precision(4, 4), edges=EdgeBits(first=3, last=2))
        assert [network[index].weight_bits for index in (1, -1)] == [3, 2]
        assert isinstance(build(Precision(4, 4))[-1], nn.Linear)
