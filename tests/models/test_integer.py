"""models/integer.py against integers in NumPy: average pools, residual blocks, ranges, and where float32 is enough."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.integer import (
    FLOATS,
    Dequantize,
    IntegerAvgPool2d,
    IntegerLinear,
    IntegerResidual,
    Output,
    QuantizeInput,
)

LEVELS = st.lists(st.integers(0, 255), min_size=36, max_size=36)


@given(levels=LEVELS, kernel=st.integers(1, 3), stride=st.integers(1, 3), bits=st.sampled_from([2, 8, None]))
def test_an_average_pool_is_an_integer_sum_and_one_float32_product(
    levels: list[int], kernel: int, stride: int, bits: int | None
) -> None:
    image = np.array(levels).reshape(6, 6)
    multiplier = np.float32(0.7 / kernel**2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (kernel, kernel))[::stride, ::stride]
    expected = windows.sum(axis=(2, 3)).astype(np.float32) * multiplier
    if bits is not None:
        expected = np.clip(np.rint(expected), 0, 2**bits - 1)
    pool = IntegerAvgPool2d(kernel, stride, torch.tensor(multiplier), Output(bits))
    found = pool(torch.from_numpy(image).float()[None, None])
    np.testing.assert_array_equal(found[0, 0].numpy(), expected)


class Minus(nn.Module):
    """Signed levels, as a branch gives them."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        return (levels - self.by).clamp(-128, 127)


@settings(max_examples=50)
@given(
    levels=st.lists(st.integers(0, 15), min_size=1, max_size=9),
    by=st.integers(0, 30),
    power=st.integers(0, 4),
    empty=st.booleans(),
)
def test_a_residual_block_adds_and_rounds_half_to_even(levels: list[int], by: int, power: int, empty: bool) -> None:
    unit, x = 1 << power, np.array(levels)
    branch, shortcut = nn.Sequential(Minus(by)), nn.Sequential() if empty else nn.Sequential(Minus(3))
    other = x * unit if empty else x - 3
    expected = np.clip(np.rint((x - by + other) / unit), 0, 15)
    found = IntegerResidual(branch, shortcut, unit=unit, bits=4)(torch.from_numpy(x).float())
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(
    ("output", "expected"),
    [(Output(1), (0, 1)), (Output(4), (0, 15)), (Output(8, signed=True), (-128, 127)), (Output(2, True), (-2, 1))],
)
def test_ranges(output: Output, expected: tuple[int, int]) -> None:
    assert output.range == expected


def test_floats_have_no_range() -> None:
    with pytest.raises(ValueError, match="float output has no range of levels"):
        _ = FLOATS.range


@pytest.mark.parametrize(
    ("weight", "bias", "dtype"),
    [(127, 0, torch.float32), (127, 2**24, torch.float64), (129, 0, torch.float64)],
    ids=["below 2^24", "its bias reaches it", "its sums reach it"],
)
def test_sums_are_taken_where_they_are_exact(weight: int, bias: int, dtype: torch.dtype) -> None:
    """512 inputs of up to 255."""
    layer = IntegerLinear(
        torch.full((1, 512), float(weight)), torch.tensor(1.0), torch.tensor([float(bias)]),
        weight_bits=8, in_bits=8, output=FLOATS, grid="symmetric",
    )  # fmt: skip
    assert layer.sum_dtype == dtype
    assert layer(torch.full((1, 512), 255.0)).item() == float(np.float32(512 * 255 * weight + bias))


@given(values=st.lists(st.floats(-1, 2, width=32), min_size=1, max_size=9), bits=st.integers(1, 8))
def test_floats_become_levels_and_levels_floats(values: list[float], bits: int) -> None:
    top = 2**bits - 1
    x = np.array(values, np.float32)
    levels = QuantizeInput(bits)(torch.from_numpy(x))
    np.testing.assert_array_equal(levels.numpy(), np.rint(np.clip(x, 0, 1) * np.float32(top)))
    back = Dequantize(torch.tensor(1 / top))(levels).numpy()
    assert (np.abs(back - np.clip(x, 0, 1)) <= 0.5 / top + 1e-6).all()
