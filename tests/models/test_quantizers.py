"""models/quantizers.py against DoReFa's formulas in plain NumPy."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from models.quantizers import activation_levels, requantized_levels, weight_levels

PROPERTY = settings(max_examples=60)

bits_of_dorefa_weights = st.integers(1, 7)
all_bits = st.integers(1, 8)
seeds = st.integers(0, 2**32 - 1)
activations = arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-2, 3, width=32))


def random_weights(seed: int) -> NDArray[np.float32]:
    """A convolution's weights [3, 2, 2, 2]."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((3, 2, 2, 2)) * generator.uniform(0.01, 3)).astype(np.float32)


@PROPERTY
@given(x=activations, bits=all_bits)
def test_activations_are_dorefas(x: NDArray[np.float32], bits: int) -> None:
    n = 2**bits - 1
    expected = np.round(np.clip(x, 0, 1) * np.float32(n))
    levels = activation_levels(torch.from_numpy(x), bits).numpy()
    np.testing.assert_array_equal(levels, expected)
    assert np.abs(levels / n - np.clip(x, 0, 1)).max() <= 0.5 / n + 1e-6  # q_k takes the nearest of n + 1 values


@PROPERTY
@given(x=activations, bits=all_bits)
def test_activations_pass_the_gradient_straight_through_inside_0_to_1(x: NDArray[np.float32], bits: int) -> None:
    tensor = torch.from_numpy(x).requires_grad_()
    (gradient,) = torch.autograd.grad(activation_levels(tensor, bits).sum(), tensor)
    np.testing.assert_array_equal(gradient.numpy(), np.where((x >= 0) & (x <= 1), 2**bits - 1, 0))


@PROPERTY
@given(seed=seeds, bits=bits_of_dorefa_weights)
def test_weights_to_7_bits_are_the_nearest_odd_integers_of_dorefas(seed: int, bits: int) -> None:
    weight, n = random_weights(seed), 2**bits - 1
    levels, scale = (tensor.numpy() for tensor in weight_levels(torch.from_numpy(weight), bits))
    bounded = np.tanh(weight.astype(np.float64))
    unit = bounded / (2 * np.abs(bounded).max()) + 0.5

    assert set(np.unique(levels)) <= set(range(-n, n + 1, 2))
    assert np.abs((levels + n) / 2 - unit * n).max() <= 0.5 + 1e-4  # q is the nearest; float32's tanh may turn a tie
    assert np.abs(levels).max() == n
    assert scale.shape == () and scale == np.float32(1 / n)


@PROPERTY
@given(seed=seeds)
def test_weights_of_8_bits_are_symmetric_for_each_channel(seed: int) -> None:
    weight = random_weights(seed)
    levels, scale = (tensor.numpy() for tensor in weight_levels(torch.from_numpy(weight), 8))

    np.testing.assert_array_equal(levels, np.round(levels))
    np.testing.assert_array_equal(np.abs(levels).max(axis=(1, 2, 3)), [127, 127, 127])
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert (np.abs(weight - levels * scale[:, None, None, None]) <= 0.5001 * scale[:, None, None, None]).all()


def test_an_empty_channel_of_8_bits_stays_zero() -> None:
    levels, scale = weight_levels(torch.zeros(2, 1, 2, 2), 8)
    assert not levels.any() and (scale > 0).all()


@PROPERTY
@given(seed=seeds, bits=bits_of_dorefa_weights)
def test_dorefa_weights_have_the_gradient_of_the_formula_without_rounding(seed: int, bits: int) -> None:
    weight, n = random_weights(seed), 2**bits - 1
    cotangent = np.random.default_rng(seed + 1).standard_normal(weight.shape)
    tensor = torch.from_numpy(weight).requires_grad_()
    levels, _ = weight_levels(tensor, bits)
    (gradient,) = torch.autograd.grad(levels, tensor, torch.from_numpy(cotangent.astype(np.float32)))

    bounded = np.tanh(weight.astype(np.float64))
    largest = np.abs(bounded).max()
    through_max = np.where(np.abs(bounded) == largest, np.sign(bounded), 0) * (cotangent * bounded).sum() / largest**2
    expected = n * (cotangent / largest - through_max) * (1 - bounded**2)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@PROPERTY
@given(seed=seeds)
def test_weights_of_8_bits_pass_the_gradient_over_their_scale(seed: int) -> None:
    tensor = torch.from_numpy(random_weights(seed)).requires_grad_()
    levels, scale = weight_levels(tensor, 8)
    (gradient,) = torch.autograd.grad(levels.sum(), tensor)
    np.testing.assert_allclose(gradient.numpy(), np.ones((3, 2, 2, 2)) / scale.numpy()[:, None, None, None], rtol=1e-5)


@PROPERTY
@given(
    sums=arrays.arrays(np.int64, (1, 2, 2, 3), elements=st.integers(-(2**23), 2**23)),
    multiplier=arrays.arrays(np.float32, (2, 1, 1), elements=st.floats(2**-20, 1, width=32)),
    bits=all_bits,
)
def test_requantizing_is_one_float32_product_rounded_half_to_even_and_clipped(
    sums: NDArray[np.int64], multiplier: NDArray[np.float32], bits: int
) -> None:
    n, product = 2**bits - 1, sums.astype(np.float32) * multiplier
    tensor = torch.from_numpy(sums.astype(np.float32)).requires_grad_()
    levels = requantized_levels(tensor, torch.from_numpy(multiplier), bits)
    (gradient,) = torch.autograd.grad(levels.sum(), tensor)

    np.testing.assert_array_equal(levels.detach().numpy(), np.clip(np.round(product), 0, n))
    inside = (np.round(product) >= 0) & (np.round(product) <= n)
    np.testing.assert_array_equal(gradient.numpy(), np.where(inside, np.broadcast_to(multiplier, sums.shape), 0))


def test_halves_go_to_the_even_level() -> None:
    sums = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 1, 4)
    assert requantized_levels(sums, 0.5, 4).flatten().tolist() == [0, 2, 2, 4]
