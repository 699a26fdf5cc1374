"""Norms: what projection, steepest direction and random starts must be, whatever the array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robustness.norms import NORMS, Array, NormName

ROUNDING = 1e-5
names = st.sampled_from(sorted(NORMS))
radii = st.floats(1e-3, 10)
perturbations = st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-5, 5, width=32))
)


def length(name: NormName, perturbation: Array) -> list[float]:
    """The norm of each perturbation, in plain Python."""
    rows = [[float(x) for x in row.flatten()] for row in perturbation]
    return [max(map(abs, row)) if name == "linf" else sum(x * x for x in row) ** 0.5 for row in rows]


@given(names, perturbations)
def test_size_is_the_norm(name: NormName, perturbation: Array) -> None:
    np.testing.assert_allclose(NORMS[name].size(perturbation), length(name, perturbation), rtol=ROUNDING)


@given(names, perturbations, radii)
def test_projection_ends_in_the_ball_and_leaves_the_ball_alone(name: NormName, far: Array, eps: float) -> None:
    norm = NORMS[name]
    near = norm.project(far, eps)
    assert near.dtype == np.float32
    assert max(length(name, near)) <= eps * (1 + ROUNDING)
    np.testing.assert_allclose(norm.project(near, eps), near, rtol=ROUNDING)
    inside = np.array(length(name, far)) <= eps * (1 - ROUNDING)
    np.testing.assert_allclose(near[inside], far[inside], rtol=ROUNDING)


@given(names, perturbations, radii, st.integers(0, 2**32))
def test_no_point_of_the_ball_is_nearer_than_the_projection(name: NormName, far: Array, eps: float, seed: int) -> None:
    norm = NORMS[name]
    other = norm.random(far.shape, eps, np.random.default_rng(seed))
    distance, others_distance = (
        np.linalg.norm((far - p).reshape(len(far), -1), axis=1) for p in (norm.project(far, eps), other)
    )
    assert (distance <= others_distance * (1 + ROUNDING) + 1e-5).all()


@given(names, perturbations, radii, st.integers(0, 2**32))
def test_steepest_has_norm_1_and_the_largest_inner_product(
    name: NormName, gradient: Array, eps: float, seed: int
) -> None:
    norm = NORMS[name]
    direction = norm.steepest(gradient)
    others = norm.random(gradient.shape, 1, np.random.default_rng(seed))
    for g, d, other, size in zip(gradient, direction, others, length(name, direction), strict=True):
        assert size == pytest.approx(1 if g.any() else 0, rel=ROUNDING)
        product = float((g.astype(np.float64) * d).sum())
        assert product >= float((g.astype(np.float64) * other).sum()) - 1e-4
        dual = np.abs(g.astype(np.float64)).sum() if name == "linf" else np.linalg.norm(g.astype(np.float64))
        assert product == pytest.approx(dual, rel=1e-4)


@given(names, st.integers(-45, 30), st.integers(0, 2**32))
def test_steepest_does_not_depend_on_the_gradients_size(name: NormName, exponent: int, seed: int) -> None:
    """Squares of tiny gradients underflow; an L2 step must survive that."""
    unit = np.random.default_rng(seed).choice([-1, 1], (2, 1, 3, 3)).astype(np.float64)
    with np.errstate(under="ignore"):
        gradient = np.copysign(np.float64(10) ** exponent, unit).astype(np.float32)
    gradient[gradient == 0] = np.copysign(np.finfo(np.float32).smallest_subnormal, unit[gradient == 0])
    expected = unit if name == "linf" else unit / 3
    np.testing.assert_allclose(NORMS[name].steepest(gradient), expected, rtol=ROUNDING)


@pytest.mark.parametrize("name", NORMS)
def test_random_starts_fill_the_ball(name: NormName) -> None:
    norm, generator, eps = NORMS[name], np.random.default_rng(0), 0.3
    starts = norm.random((2000, 1, 2, 2), eps, generator)
    sizes = np.array(length(name, starts))
    assert starts.dtype == np.float32 and sizes.max() <= eps * (1 + ROUNDING)
    np.testing.assert_allclose(starts.mean(axis=0), 0, atol=0.02)
    # Uniform in the ball of 4 dimensions: a share r^4 lies within r of the radius, whichever the norm.
    shares = [(sizes <= r * eps).mean() for r in (0.5, 0.8, 0.9)]
    np.testing.assert_allclose(shares, [0.5**4, 0.8**4, 0.9**4], atol=0.04)


@pytest.mark.parametrize(("name", "largest"), [("linf", 1.0), ("l2", 8.0)])
def test_the_largest_perturbation_is_from_black_to_white(name: NormName, largest: float) -> None:
    white = np.ones((1, 1, 8, 8), np.float32)
    assert NORMS[name].largest((1, 8, 8)) == pytest.approx(largest) == pytest.approx(NORMS[name].size(white)[0])
