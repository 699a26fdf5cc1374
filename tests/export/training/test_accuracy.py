"""export/training/accuracy.py: every image counts once, and the temperature is the best there is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Never

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.data.examples import Indices, Levels, Split
from export.training.accuracy import accuracy, fit_temperature, logits_of, robust_accuracy, spread
from export.training.recipe import Training


def test_accuracy_and_logits_cover_every_image_of_a_split() -> None:
    class First(nn.Module):
        """The first pixel's value as its class."""

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 4).float()

    classes = np.arange(1003) % 4
    split = Split(classes.astype(np.uint8).reshape(-1, 1, 1, 1), np.where(np.arange(1003) < 1000, classes, 9))
    assert logits_of(First(), split).shape == (1003, 4)
    assert accuracy(First(), split) == pytest.approx(1000 / 1003)


@dataclass(frozen=True)
class ReadAhead(Split):
    """Images that are told all at once which are wanted, as those on a disk have to be to be read ahead."""

    asked: list[int] = field(default_factory=list)

    def batches(self, order: Iterable[Indices]) -> Iterator[Levels]:
        wanted = list(order)
        self.asked.extend(map(len, wanted))
        return super().batches(wanted)

    def pixels(self, start: int = 0, stop: int | None = None) -> Never:
        raise AssertionError("one batch at a time")


def test_images_are_asked_for_so_that_they_can_be_read_ahead() -> None:
    split = ReadAhead(np.zeros((7, 1, 1, 1), np.uint8), np.zeros(7, np.int64))
    assert logits_of(nn.Flatten(), split, batch_size=3).shape == (7, 1)
    assert split.asked == [3, 3, 1]


def cross_entropy(logits: Tensor, classes: Tensor, temperature: float) -> float:
    """In float64 NumPy."""
    scaled = logits.numpy().astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    rows = np.arange(len(scaled))
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, classes.numpy()]).mean())


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.05, 50))
def test_no_temperature_fits_better_than_the_one_chosen(seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(60, 4, generator=generator) * spread
    classes = torch.where(torch.rand(60, generator=generator) < 0.7, logits.argmax(1), 0)
    chosen = cross_entropy(logits, classes, fit_temperature(logits, classes))
    others = [cross_entropy(logits, classes, 10**exponent) for exponent in np.linspace(-2, 2, 101)]
    assert chosen <= min(others) + 1e-4 * max(1, min(others))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_the_temperature_of_logits_that_are_off_by_one_is_found(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    calibrated = torch.randn(20_000, 4, generator=generator) * 2
    classes = torch.multinomial(calibrated.softmax(dim=1), 1, generator=generator)[:, 0]
    assert fit_temperature(calibrated * temperature, classes) == pytest.approx(temperature, rel=0.05)


class Brightness(nn.Module):
    """Logits -x and x of the pixel's distance x from 1/2: class 1 above it."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.flatten(1) - 0.5
        return torch.cat([-bright, bright], dim=1)


def test_accuracy_under_attack_counts_what_lies_beyond_reach() -> None:
    """Of pixels 0.3, 0.45, 0.55 and 0.7, PGD of 0.1 takes the two that are nearer to 1/2 than that."""
    levels = np.array([76, 115, 140, 179], np.uint8).reshape(-1, 1, 1, 1)
    split, training = Split(levels, np.array([0, 0, 1, 1])), Training(1, 1, 0.1, robust_eps=0.1, robust_steps=20)
    assert robust_accuracy(Brightness(), split, training) == 0.5
    assert robust_accuracy(Brightness(), split, Training(1, 1, 0.1)) is None


@given(total=st.integers(1, 10_000), count=st.integers(1, 500))
def test_indices_are_spread_from_the_first_to_the_last(total: int, count: int) -> None:
    chosen = spread(total, count)
    assert len(chosen) == min(total, count) and chosen[0] == 0
    assert len(set(chosen.tolist())) == len(chosen)
    assert count == 1 or chosen[-1] == total - 1
