"""models/dorefa.py, and models/integer.py frozen from it, against 64-bit integer convolutions in NumPy."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn

from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import FLOATS, IntegerConv2d, QuantizeInput
from models.quantizers import weight_levels

PROPERTY = settings(max_examples=60)

all_bits = st.integers(1, 8)


@dataclass(frozen=True)
class Case:
    """A convolution's geometry and bit widths, and levels [N, C, H, W] to put through it."""

    levels: NDArray[np.int64]
    channels: int
    filters: int
    kernel: int
    stride: int
    padding: int
    weight_bits: int
    in_bits: int
    out_bits: int | None

    def layer(self) -> QuantConv2d:
        return QuantConv2d(
            self.channels,
            self.filters,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            weight_bits=self.weight_bits,
            in_bits=self.in_bits,
            out_bits=self.out_bits,
        )

    def float_levels(self) -> torch.Tensor:
        return torch.from_numpy(self.levels.astype(np.float32))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    channels, kernel, in_bits = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(all_bits)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    torch.manual_seed(int(generator.integers(2**32)))
    size = (draw(st.integers(1, 3)), channels, kernel + draw(st.integers(0, 4)), kernel + draw(st.integers(0, 4)))
    return Case(
        levels=generator.integers(0, 2**in_bits, size),
        channels=channels,
        filters=draw(st.integers(1, 4)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        padding=draw(st.integers(0, 2)),
        weight_bits=draw(all_bits),
        in_bits=in_bits,
        out_bits=draw(st.none() | all_bits),
    )


def integer_convolution(
    levels: NDArray[np.int64], weight: NDArray[np.int64], stride: int, padding: int
) -> NDArray[np.int64]:
    """Sums [N, O, H', W'] of levels [N, C, H, W] and weight [O, C, k, k]."""
    kernel = weight.shape[-1]
    padded = np.pad(levels, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    sums: NDArray[np.int64] = np.einsum("nchwij,ocij->nohw", windows, weight)
    return sums


@PROPERTY
@given(case=cases())
def test_frozen_layers_compute_the_integer_sums_and_one_float32_product(case: Case) -> None:
    frozen = case.layer().frozen()
    sums = integer_convolution(case.levels, frozen.weight.numpy().astype(np.int64), case.stride, case.padding)
    multiplier = frozen.multiplier.numpy()
    values = sums.astype(np.float32) * (multiplier if multiplier.ndim == 0 else multiplier[:, None, None])
    if case.out_bits is not None:
        values = np.clip(np.round(values), 0, 2**case.out_bits - 1)
    np.testing.assert_array_equal(frozen(case.float_levels()).numpy(), values)


@PROPERTY
@given(case=cases())
def test_a_frozen_layer_answers_as_the_layer_in_training_does(case: Case) -> None:
    layer = case.layer()
    assert torch.equal(layer.eval()(case.float_levels()), layer.frozen()(case.float_levels()))


@PROPERTY
@given(case=cases())
def test_levels_stand_for_the_quantized_values(case: Case) -> None:
    """levels / n of the output = clip(convolution of levels / n of the input with the quantized weights, 0, 1)."""
    layer, in_top = case.layer(), 2**case.in_bits - 1
    frozen, out_top = layer.frozen(), 1 if case.out_bits is None else 2**case.out_bits - 1
    levels, scale = (tensor.detach().double() for tensor in weight_levels(layer.weight, case.weight_bits))
    weight = levels * (scale if scale.dim() == 0 else scale.view(-1, 1, 1, 1))
    values = nn.functional.conv2d(
        torch.from_numpy(case.levels / in_top), weight, stride=case.stride, padding=case.padding
    )
    if case.out_bits is None:
        torch.testing.assert_close(frozen(case.float_levels()).double(), values, rtol=1e-5, atol=1e-5)
    else:
        found = frozen(case.float_levels()).double()
        assert ((found / out_top - values.clamp(0, 1)).abs() <= 0.5 / out_top + 1e-5).all()


def test_sums_beyond_float32s_integers_are_exact() -> None:
    """1,600 products of 255 and 127, less one: above 2^24, where float32 sums would lose the last bit."""
    weight = torch.full((2, 1600, 1, 1), 127.0)
    weight[0, 0], weight[1] = 126.0, 1.0
    layer = IntegerConv2d(weight, torch.tensor(1.0), stride=1, padding=0, weight_bits=8, in_bits=8, output=FLOATS)
    levels = torch.full((1, 1600, 1, 1), 255.0)
    levels[0, ::2] = 253.0
    expected = (levels[0, :, 0, 0].long() * weight[0, :, 0, 0].long()).sum().item()
    assert expected > 2**24
    assert layer(levels)[0, 0, 0, 0].item() == np.float32(expected)


def test_gradients_pass_straight_through_where_the_output_is_in_range() -> None:
    torch.manual_seed(0)
    layer = QuantConv2d(2, 3, 2, weight_bits=2, in_bits=3, out_bits=2).train()
    levels = torch.randint(0, 8, (2, 2, 4, 4)).float().requires_grad_()
    cotangent = torch.randn(2, 3, 3, 3)
    found = torch.autograd.grad(layer(levels), levels, cotangent)[0]

    frozen = layer.frozen()
    rounded = torch.round(nn.functional.conv2d(levels.detach(), frozen.weight) * frozen.multiplier)
    inside = (rounded >= 0) & (rounded <= 3)
    expected = nn.functional.conv_transpose2d(cotangent * inside * frozen.multiplier, frozen.weight)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert inside.any() and not inside.all()


def test_freezing_fixes_quantized_layers_and_shares_the_others() -> None:
    linear = nn.Linear(2, 3, bias=False)
    network = nn.Sequential(
        QuantizeInput(2), QuantConv2d(1, 2, 3, weight_bits=1, in_bits=2, out_bits=None), nn.Flatten(), linear
    )
    image = torch.rand(5, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    before = network.eval()(image)
    frozen = freeze(network.train())

    assert not frozen.training and frozen[-1] is linear
    assert [name for name, _ in frozen.named_parameters()] == ["3.weight"]
    assert torch.equal(frozen(image), before)


@pytest.mark.parametrize("out_bits", [4, None])
def test_the_offset_of_a_batch_norm_that_scales_to_next_to_nothing_is_kept(out_bits: int | None) -> None:
    torch.manual_seed(0)
    layer = QuantConv2d(2, 3, 3, weight_bits=2, in_bits=4, out_bits=out_bits, batch_norm=True).eval()
    assert layer.norm is not None
    with torch.no_grad():
        layer.norm.weight[:], layer.norm.bias[:] = 1e-9, 0.6
        levels = torch.randint(0, 16, (2, 2, 5, 5)).float()
        torch.testing.assert_close(layer.frozen()(levels), layer(levels), rtol=1e-5, atol=1e-5)
        assert (layer(levels) > 0.5).all()
