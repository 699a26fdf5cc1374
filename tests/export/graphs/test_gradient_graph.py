"""export/graphs/gradient_graph.py: gradients on ONNX Runtime against torch's autograd."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from export.graphs.gradient_graph import gradient_graph
from export.graphs.integer_graph import member_graph
from models.folding import freeze
from models.networks import mnist_conv
from models.precision import Precision

Run = Callable[..., list[NDArray[np.float32]]]


def of_torch(network: nn.Sequential, images: torch.Tensor, cotangents: torch.Tensor) -> list[NDArray[np.float32]]:
    """Logits and gradient by torch's autograd."""
    tensor = images.clone().requires_grad_()
    logits = network(tensor)
    (gradient,) = torch.autograd.grad(logits, tensor, cotangents)
    return [logits.detach().numpy(), gradient.numpy()]


def of_graph(
    network: nn.Sequential, images: torch.Tensor, cotangents: torch.Tensor, run: Run
) -> list[NDArray[np.float32]]:
    """Logits and gradient by the network's gradient graph."""
    model = gradient_graph(network, tuple(images.shape[1:]), cotangents.shape[1], "drawn")
    return run(model, image=images.numpy(), cotangent=cotangents.numpy())


def random_images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def assert_agreement(network: nn.Sequential, images: torch.Tensor, run: Run) -> None:
    """Of the gradient graph with torch's autograd, and in its classes with the member graph."""
    with torch.no_grad():
        cotangents = torch.randn_like(network(images))
    expected_logits, expected = of_torch(network, images, cotangents)
    logits, gradient = of_graph(network, images, cotangents, run)
    (served,) = run(member_graph(network, tuple(images.shape[1:]), "drawn"), image=images.numpy())

    np.testing.assert_array_equal(logits.argmax(axis=1), served.argmax(axis=1))
    assert np.abs(logits - expected_logits).max() <= 1e-4 * np.abs(expected_logits).max()
    differences, norms = (np.linalg.norm(g.reshape(len(g), -1), axis=1) for g in (gradient - expected, expected))
    assert (differences <= 1e-4 * norms).all()


@settings(max_examples=120)
@given(data=st.data())
def test_a_gradient_graph_agrees_with_autograd_and_with_the_member_graph(
    data: st.DataObject, networks: st.SearchStrategy[tuple[nn.Sequential, torch.Tensor]], run_graph: Run
) -> None:
    assert_agreement(*data.draw(networks), run_graph)


@pytest.mark.parametrize("precision", ["w2a4", "w8a8", "fp32"])
def test_that_of_mnist_conv_does(precision: str, run_graph: Run) -> None:
    torch.manual_seed(0)
    assert_agreement(freeze(mnist_conv(Precision.parse(precision))), torch.rand(10, 1, 28, 28), run_graph)


@pytest.mark.parametrize("precision", ["w1a1", "w2a4", "w8a8", "fp32"])
def test_most_gradients_are_not_zero(
    precision: str, frozen_toy: Callable[[str], nn.Sequential], run_graph: Run
) -> None:
    """The comparison with autograd would mean little if both returned 0."""
    _, gradient = of_graph(frozen_toy(precision), random_images(20), torch.ones(20, 4), run_graph)
    assert (np.abs(gradient).reshape(20, -1).max(axis=1) > 0).mean() >= 0.5


def test_pixels_at_the_ends_of_the_range_have_a_gradient_and_those_beyond_have_none(
    frozen_toy: Callable[[str], nn.Sequential], run_graph: Run
) -> None:
    images = random_images(4)
    images[0], images[1] = 0, 1
    images[2, 0, 3, 3], images[3, 0, 4, 4] = -0.1, 1.1
    network, cotangents = frozen_toy("w2a4"), torch.tensor([[1.0, 2.0, -3.0, 4.0]]).expand(4, 4)
    logits, gradient = of_graph(network, images, cotangents, run_graph)
    expected_logits, expected = of_torch(network, images, cotangents)

    np.testing.assert_allclose(logits, expected_logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert gradient[1].any() and gradient[2, 0, 3, 3] == gradient[3, 0, 4, 4] == 0


def test_the_batch_axis_is_free_and_the_others_are_fixed(
    frozen_toy: Callable[[str], nn.Sequential], run_graph: Run
) -> None:
    network, images, cotangents = frozen_toy("w2a4"), random_images(5), torch.ones(5, 4)
    _, together = of_graph(network, images, cotangents, run_graph)
    alone = [of_graph(network, images[i : i + 1], cotangents[:1], run_graph)[1] for i in range(5)]

    np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-4, atol=1e-5)
    assert [len(array) for array in of_graph(network, images[:0], cotangents[:0], run_graph)] == [0, 0]


def test_a_layer_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no rule to differentiate Softplus in a gradient graph"):
        gradient_graph(nn.Sequential(nn.Flatten(), nn.Softplus()), (1, 2, 2), 4, "odd")
