"""Square: a known adversarial example within its queries, the published schedule, and norms that are kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustness.attacks.square import Square
from robustness.attacks.squares import PLACES, WINDOWS, Draws
from robustness.norms import NORMS, NormName
from tests.linear_victim import planted_victim
from tests.smallest_changes import CAT, GREY, alike, smallest


@pytest.mark.parametrize(("norm", "share"), [("linf", 1.1), ("l2", 2.0)])
def test_it_finds_the_known_example_within_its_queries_and_no_smaller_one(norm: NormName, share: float) -> None:
    victim = alike()
    assert not Square(norm, 0.99 * smallest(norm), queries=500).run(victim, GREY, CAT, np.random.default_rng(0))
    assert victim.spent.queries == 500 + 2
    for seed in range(3):
        assert Square(norm, share * smallest(norm), queries=500).run(victim, GREY, CAT, np.random.default_rng(seed))
    assert victim.spent.gradient_calls == 0
    victim.close()


def test_it_turns_the_members_together() -> None:
    """Each would more easily go to a class of its own, and then the vote would hold."""
    victim = planted_victim()
    assert Square("linf", 0.1, queries=1000).run(victim, GREY, CAT, np.random.default_rng(0))
    victim.close()


@pytest.mark.parametrize(
    ("query", "side"), [(0, 25), (10, 25), (11, 18), (51, 13), (501, 6), (2001, 3), (4001, 2), (8001, 1), (9999, 1)]
)
def test_squares_shrink_as_published(query: int, side: int) -> None:
    """round(sqrt(p 28^2)) with p from 0.8, halved after 10, 50, 200, ... of 10,000 queries."""
    assert Square("linf", 0.3, queries=10_000)._side(query, (28, 28)) == side
    assert Square("linf", 0.3, queries=1000)._side(query // 10, (28, 28)) == Square("linf", 0.3, queries=10_000)._side(
        query // 10 * 10, (28, 28)
    )


@given(st.sampled_from(sorted(NORMS)), st.integers(1, 3), st.integers(2, 12), st.integers(2, 12), st.integers(0, 99))
def test_every_square_stays_in_the_ball_and_changes_the_image(
    norm: NormName, channels: int, height: int, width: int, seed: int
) -> None:
    """In l2 all of eps is used, as long as nothing is cut off at 0 and 1."""
    generator, eps, window = np.random.default_rng(seed), 0.1, WINDOWS[norm]
    clean = generator.uniform(0.3, 0.7, (3, channels, height, width)).astype(np.float32)
    image = window.start(clean, eps, generator.spawn(3))
    draws = Draws(generator.spawn(3), channels, ahead=2)
    for side in (height, 3, 1):
        np.testing.assert_allclose(NORMS[norm].size(image - clean), eps, rtol=1e-4)
        image = window.moved(clean, image, eps, min(side, height, width), draws.next(np.arange(3)))
        assert image.dtype == np.float32 and image.shape == clean.shape


def test_each_image_has_random_numbers_of_its_own() -> None:
    everyone, some = (Draws(np.random.default_rng(0).spawn(4), 1, ahead=3) for _ in range(2))
    for _ in range(8):
        drawn = everyone.next(np.arange(4))
        assert drawn.shape == (4, PLACES + 1) and len(np.unique(drawn)) == drawn.size
        np.testing.assert_array_equal(some.next(np.array([1, 3])), drawn[[1, 3]])
