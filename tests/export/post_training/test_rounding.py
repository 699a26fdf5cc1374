"""export/post_training/rounding.py and export/post_training/grids.py: against brute force and by their properties."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from export.post_training.grids import best_grid
from export.post_training.rounding import Levels, compensated, nearest, refitted, weighted_scales, widest_scales


def problem(seed: int, rows: int = 3, width: int = 6, correlation: float = 0.8) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [2, rows, width], inputs [2, width, 200] that go together, and their second moments."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    common = torch.randn(2, 1, 200, generator=generator, dtype=torch.float64)
    own = torch.randn(2, width, 200, generator=generator, dtype=torch.float64)
    inputs = correlation * common + (1 - correlation) * own
    return weights, inputs, inputs @ inputs.mT / 200


def output_error(levels: Levels, weights: Tensor, inputs: Tensor) -> float:
    return float(((levels.weights - weights) @ inputs).square().mean())


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_levels_are_integers_of_their_range(seed: int, bits: int) -> None:
    weights, _, moments = problem(seed)
    scales = weighted_scales(weights, bits, moments.diagonal(dim1=-2, dim2=-1))
    for found in (nearest(weights, scales, bits), compensated(weights, scales, bits, moments)):
        assert torch.equal(found.levels, found.levels.round())
        assert found.levels.min() >= -(2 ** (bits - 1)) and found.levels.max() < 2 ** (bits - 1)


@given(st.integers(0, 10_000))
def test_the_best_scale_is_no_worse_than_the_widest(seed: int) -> None:
    weights, _, moments = problem(seed)
    importance = moments.diagonal(dim1=-2, dim2=-1)
    widest = weights.abs().amax(dim=-1, keepdim=True) / 7
    found, plain = (
        ((nearest(weights, scales, 4).weights - weights).square() * importance[:, None]).sum(dim=-1)
        for scales in (weighted_scales(weights, 4, importance), widest)
    )
    assert (found <= plain + 1e-12).all()


def test_compensated_rounding_comes_near_the_best_of_all() -> None:
    """Brute force over all 4^5 roundings of a row to 2-bit levels is the oracle."""
    lost, gained, best = 0.0, 0.0, 0.0
    for seed in range(10):
        weights, inputs, moments = problem(seed, rows=1, width=5)
        scales = weighted_scales(weights, 2, moments.diagonal(dim1=-2, dim2=-1))
        every = torch.tensor(list(itertools.product(range(-2, 2), repeat=5)), dtype=torch.float64)
        for group in range(2):
            candidates = every * scales[group]
            best += float((((candidates - weights[group]) @ inputs[group]).square().mean(dim=-1)).min())
        lost += 2 * output_error(nearest(weights, scales, 2), weights, inputs)
        gained += 2 * output_error(compensated(weights, scales, 2, moments), weights, inputs)
    assert best <= gained < lost / 2
    assert gained < 6 * best


@given(st.integers(0, 10_000), st.floats(0.05, 0.5))
def test_refitted_weights_undo_what_happened_to_their_inputs(seed: int, noise: float) -> None:
    weights, inputs, _ = problem(seed, correlation=0.3)
    served = inputs * (1 + noise)
    fitted = refitted(weights, served @ served.mT / 200, inputs @ served.mT / 200)
    before, after = ((w @ served - weights @ inputs).square().mean() for w in (weights, fitted))
    assert after < before / 10


def test_refitting_changes_nothing_where_inputs_are_exact() -> None:
    weights, _, moments = problem(0)
    torch.testing.assert_close(refitted(weights, moments, moments), weights)


@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=50),
)
def test_a_grid_holds_zero_exactly_and_its_levels_come_back(values: list[float]) -> None:
    array = np.array(values, np.float32)
    grid = best_grid(array)
    assert grid.dequantize(np.array([grid.zero_point])) == 0
    assert 0 <= grid.zero_point <= 255
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(grid.quantize(grid.dequantize(levels)), levels)


@pytest.mark.parametrize("outlier", [1.0, 100.0])
def test_a_grid_clips_an_outlier_where_that_pays(outlier: float) -> None:
    values = np.append(np.random.default_rng(0).random(100_000, dtype=np.float32), np.float32(outlier))
    grid = best_grid(values)
    assert (grid.scale * 255 < outlier * 0.99) == (outlier > 1)
    assert np.square(grid.dequantize(grid.quantize(values)) - values).mean() <= (outlier / 255) ** 2 / 12 * 1.05


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_at_the_widest_scales_the_largest_weight_is_the_top_level_and_no_search_loses_more(bits: int) -> None:
    weights = torch.randn(2, 5, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(bits))
    widest = widest_scales(weights, bits)
    assert (nearest(weights, widest, bits).levels.abs().amax(dim=-1) == 2 ** (bits - 1) - 1).all()
    importance = torch.ones(2, 30, dtype=torch.float64)
    found = weighted_scales(weights, bits, importance)
    errors = [(nearest(weights, each, bits).weights - weights).square().sum() for each in (found, widest)]
    assert errors[0] <= errors[1]
