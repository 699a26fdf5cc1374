"""export/graphs/pool_gradients.py: which pixel of a window gets the gradient, against torch's autograd."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.graphs.gradient_graph import gradient_graph
from models.integer import Dequantize, QuantizeInput

SHAPE = (2, 6, 12)
Run = Callable[..., list[NDArray[np.float32]]]


def in_floats(pool: nn.MaxPool2d, _: int) -> list[nn.Module]:
    return [pool]


def in_levels(pool: nn.MaxPool2d, bits: int) -> list[nn.Module]:
    return [QuantizeInput(bits), pool, Dequantize(torch.tensor(0.5))]


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("pool", [(1, 1), (2, 2), (3, 3), (3, 2), (2, 1)], ids=str)
@pytest.mark.parametrize("before", [in_floats, in_levels])
def test_the_first_of_the_largest_gets_it(
    before: Callable[[nn.MaxPool2d, int], list[nn.Module]], pool: tuple[int, int], bits: int, run_graph: Run
) -> None:
    """The fewer the levels, the more pixels of a window are the largest."""
    torch.manual_seed(0)
    images = torch.randint(0, 2**bits, (4, *SHAPE)) / (2**bits - 1)
    images.requires_grad_()
    network = nn.Sequential(*before(nn.MaxPool2d(*pool), bits), nn.Flatten())
    pooled = network(images)
    cotangents = torch.randn_like(pooled)
    (expected,) = torch.autograd.grad(pooled, images, cotangents)
    model = gradient_graph(network.eval(), SHAPE, pooled.shape[1], "pool")
    values, gradient = run_graph(model, image=images.detach().numpy(), cotangent=cotangents.numpy())

    np.testing.assert_array_equal(values, pooled.detach().numpy())
    np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_floats_differ_however_little(scale: float, run_graph: Run) -> None:
    """Next to each other among the floats, and of either sign."""
    low = np.float32(scale)
    high = np.nextafter(low, np.float32(np.inf))
    image = np.array([low, high, -high, -low, -high, -high, low, low], np.float32).reshape(1, 1, 2, 4)
    network = nn.Sequential(nn.MaxPool2d(2), nn.Flatten())
    _, gradient = run_graph(
        gradient_graph(network, (1, 2, 4), 2, "pool"), image=image, cotangent=np.ones((1, 2), np.float32)
    )

    assert gradient.ravel().tolist() == [0, 1, 0, 0, 0, 0, 1, 0]
