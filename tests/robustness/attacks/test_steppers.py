"""Steppers: where they end on functions whose maximum in a ball is known, and APGD step by step as its paper has it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from robustness.attacks.steppers import Adaptive, Ball, Steepest, Stepper, checkpoints
from robustness.norms import NORMS, NormName
from tests.toys import Array

Values = NDArray[np.float64]
Function = Callable[[Array], tuple[Values, Array]]
"""Values [B] and gradients of images [B, C, H, W]."""

SHAPE = (1, 3, 3)
EPS = 0.2


def ball_of(norm: NormName, rows: int) -> Ball:
    """Around images far enough from 0 and 1 for the ball to lie between."""
    images = np.random.default_rng(5).uniform(0.3, 0.7, (rows, *SHAPE))
    return Ball(NORMS[norm], EPS, images.astype(np.float32))


def linear(rows: int) -> tuple[Function, Array]:
    """A function of a slope of its own for each row, and the slopes."""
    slope = np.random.default_rng(6).standard_normal((rows, *SHAPE)).astype(np.float32)
    return lambda x: ((x * slope).sum(axis=(1, 2, 3)).astype(np.float64), slope), slope


def towards(goal: Array) -> Function:
    """Less the squared distance to a goal of its own for each row: an attack must slow down to stay there."""
    return lambda x: (-np.square((x - goal).astype(np.float64)).sum(axis=(1, 2, 3)), 2 * (goal - x))


def bumpy(x: Array) -> tuple[Values, Array]:
    """Many hills, so that steps overshoot."""
    wide = x.astype(np.float64)
    return np.sin(40 * wide).sum(axis=(1, 2, 3)), (40 * np.cos(40 * wide)).astype(np.float32)


def climbed(stepper: Stepper, function: Function, ball: Ball, steps: int) -> list[Array]:
    """All iterates, the start included."""
    iterates = [ball.clean]
    for _ in range(steps):
        iterates.append(stepper.next(iterates[-1], *function(iterates[-1]), ball))
    return iterates


def made(kind: str, steps: int) -> Stepper:
    if kind == "adaptive":
        return Adaptive(steps, 2 * EPS)
    return Steepest(steps, 2.5 * EPS / steps, decay=1.0 if kind == "momentum" else 0.0)


kinds = pytest.mark.parametrize("kind", ["steepest", "momentum", "adaptive"])
norms = pytest.mark.parametrize("norm", sorted(NORMS))


@kinds
@norms
@pytest.mark.parametrize("scale", [1e-25, 1, 1e12])
def test_a_linear_function_is_climbed_to_the_balls_border(kind: str, norm: NormName, scale: float) -> None:
    """Its maximum is eps along the steepest direction, however large the slope."""
    ball, (_, slope) = ball_of(norm, 4), linear(4)
    small = slope * np.float32(scale)
    last = climbed(made(kind, 10), lambda x: ((x * slope).sum(axis=(1, 2, 3)) * scale, small), ball, 10)[-1]
    np.testing.assert_allclose(last, ball.clean + np.float32(EPS) * NORMS[norm].steepest(slope), atol=1e-4)


@norms
def test_apgd_ends_nearer_the_maximum_than_steps_of_fixed_length(norm: NormName) -> None:
    """The nearest point of the ball to the goal is the goal's projection; some goals lie inside, some outside."""
    ball = ball_of(norm, 20)
    goal = ball.clean + NORMS[norm].random(ball.clean.shape, 2 * EPS, np.random.default_rng(7))
    best = ball.project(goal)
    ends = {kind: climbed(made(kind, 100), towards(goal), ball, 100)[-1] for kind in ("steepest", "adaptive")}
    missed = {kind: float(np.abs(end - best).max()) for kind, end in ends.items()}
    assert missed["adaptive"] < 0.003
    assert missed["adaptive"] < missed["steepest"]


def plain_apgd(ball: Ball, function: Function, steps: int, row: int) -> list[Array]:
    """Algorithm 1 of Croce & Hein, for one image [1, C, H, W]: all iterates, as they are evaluated."""
    own = Ball(ball.norm, ball.eps, ball.clean[row : row + 1])
    size, window_start, marks = 2 * EPS, 0, checkpoints(steps)
    x, before, evaluated = own.clean, own.clean, [own.clean]
    best, f_best = x, function(x)[0][0]
    f_last, f_best_at_mark, halved_before, rises = f_best, f_best, False, 0
    for k in range(steps):
        if k > 0:
            f = function(x)[0][0]
            rises += int(f > f_last)
            f_last = f
            if f > f_best:
                best, f_best = x, f
        if k in marks:
            halve = rises < 0.75 * (k - window_start) or (not halved_before and f_best == f_best_at_mark)
            if halve:
                size, x, f_last = size / 2, best, f_best
            window_start, f_best_at_mark, halved_before, rises = k, f_best, halve, 0
        z = own.project(x + np.float32(size) * own.norm.steepest(function(x)[1]))
        alpha = np.float32(1 if k == 0 else 0.75)
        x, before = own.project(x + alpha * (z - x) + (1 - np.float32(0.75)) * (x - before)), x
        evaluated.append(x)
    return evaluated


@norms
@pytest.mark.parametrize("steps", [1, 5, 20, 60])
def test_apgd_is_the_papers_step_by_step(norm: NormName, steps: int) -> None:
    """Each row has a history of its own: some halve their step at a checkpoint, and go on from their best iterate."""
    ball = ball_of(norm, 6)
    found = climbed(Adaptive(steps, 2 * EPS), bumpy, ball, steps)
    for row in range(6):
        expected = plain_apgd(ball, bumpy, steps, row)
        np.testing.assert_allclose([x[row] for x in found], [x[0] for x in expected], atol=1e-5)


@kinds
@norms
def test_a_row_takes_the_same_way_when_others_are_dropped(kind: str, norm: NormName) -> None:
    ball = ball_of(norm, 5)
    whole = climbed(made(kind, 30), bumpy, ball, 30)
    stepper, kept, iterate = made(kind, 30), np.arange(5), ball.clean
    for step in range(30):
        if step in (1, 7, 13):
            rows = np.arange(1, len(kept))
            kept, ball, iterate = kept[rows], ball.where(rows), iterate[rows]
            stepper.keep(rows)
        iterate = stepper.next(iterate, *bumpy(iterate), ball)
    np.testing.assert_array_equal(kept, [3, 4])
    np.testing.assert_array_equal(iterate, whole[-1][kept])


def test_apgd_goes_back_where_the_loss_rose_but_never_above_its_best() -> None:
    """From 10 down to -9, and up again step by step: at the first checkpoint, 7, it goes on from the start."""
    ball, stepper = ball_of("linf", 1), Adaptive(30, 2 * EPS)
    up = np.ones((1, *SHAPE), np.float32)
    iterate = stepper.next(ball.clean, np.array([10.0]), up, ball)
    for step in range(1, 8):
        before = iterate
        iterate = stepper.next(iterate, np.array([step - 10.0]), -up, ball)
    assert checkpoints(30)[0] == 7
    assert (before < ball.clean).all() and (iterate > ball.clean).all()


def test_momentum_is_the_sum_of_gradients_of_size_1() -> None:
    """A pixel pushed up strongly once and down weakly twice goes down: each gradient counts by its own size."""
    ball, stepper = ball_of("linf", 1), Steepest(3, 0.01, decay=1.0)
    up, down = np.ones((1, *SHAPE), np.float32), np.full((1, *SHAPE), -1e-3, np.float32)
    iterate = ball.clean
    for gradient, level in ((100 * up, 0.01), (down, 0.01), (down, 0.0), (down, -0.01)):
        iterate = stepper.next(iterate, np.zeros(1), gradient, ball)
        np.testing.assert_allclose(iterate - ball.clean, level, atol=1e-6)


@given(st.integers(1, 1000))
def test_checkpoints_come_ever_more_often(steps: int) -> None:
    found = checkpoints(steps)
    assert found == sorted(found) and found[0] >= 1 and found[-1] <= steps
    gaps = np.diff([0, *found])
    assert (np.diff(gaps) <= 1).all()  # but for rounding they shrink
