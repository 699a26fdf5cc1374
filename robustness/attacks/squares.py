"""The squares of the Square attack: how a perturbation starts, and what a square does to it, in each norm.

As in AutoAttack's version, but with a place of its own for each image.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robustness.norms import NormName
from robustness.victim import Array

Draw = NDArray[np.float64]
"""Uniform random numbers in [0, 1) for one square in each of B images, [B, PLACES + C]."""
PLACES = 5
"""Top and left of a window, of another one, and which way the square lies; one sign for each channel follows."""
TINY = 1e-12


class Draws:
    """Random numbers of their own for each of N images, drawn `ahead` squares at a time."""

    def __init__(self, generators: Sequence[np.random.Generator], channels: int, ahead: int) -> None:
        self._generators, self._shape, self._next = generators, (ahead, PLACES + channels), ahead
        self._drawn = np.empty((len(generators), *self._shape))

    def next(self, rows: NDArray[np.intp]) -> Draw:
        """The next square's numbers for the images `rows`, which may only become fewer."""
        if self._next == len(self._drawn[0]):
            for row in rows.tolist():
                self._drawn[row] = self._generators[row].random(self._shape)
            self._next = 0
        self._next += 1
        return np.asarray(self._drawn[rows, self._next - 1])


class Window(Protocol):
    """What the attack needs of a norm; images are [B, C, H, W], and a square has the side `side`."""

    def start(self, clean: Array, eps: float, generators: Sequence[np.random.Generator]) -> Array:
        """The first images tried."""
        ...

    def moved(self, clean: Array, image: Array, eps: float, side: int, draw: Draw) -> Array:
        """The best image so far with one more square in each."""
        ...


class LinfWindow:
    """Perturbations of -eps and eps: vertical stripes, then squares (algorithm 2 of the paper)."""

    def start(self, clean: Array, eps: float, generators: Sequence[np.random.Generator]) -> Array:
        _, channels, _, width = clean.shape
        stripes = _signs(np.stack([generator.random((channels, 1, width)) for generator in generators]))
        return _within(clean + eps * stripes)

    def moved(self, clean: Array, image: Array, eps: float, side: int, draw: Draw) -> Array:
        moved, place = image.copy(), _place(clean.shape, side, draw[:, 0], draw[:, 1])
        moved[place] += np.float32(2 * eps) * _signs(draw[:, PLACES:])[:, :, None, None]
        return _within(clean + (moved - clean).clip(-np.float32(eps), np.float32(eps)))


class L2Window:
    """Tiles of two opposite bumps; a square takes over the norm of another one (algorithm 3 of the paper)."""

    def start(self, clean: Array, eps: float, generators: Sequence[np.random.Generator]) -> Array:
        _, channels, height, width = clean.shape
        side = max(min(height, width) // 5, 1)
        perturbation = np.zeros(clean.shape)
        top, left = (height - height // side * side) // 2, (width - width // side * side) // 2
        for row in range(top, height - side + 1, side):
            for column in range(left, width - side + 1, side):
                draw = np.stack([generator.random(1 + channels) for generator in generators])
                perturbation[:, :, row : row + side, column : column + side] = _bumps(side, draw[:, 0], draw[:, 1:])
        return _scaled(clean, perturbation, eps)

    def moved(self, clean: Array, image: Array, eps: float, side: int, draw: Draw) -> Array:
        shape = clean.shape
        side = min(max(side, 3) | 1, *shape[2:])  # odd, and large enough for two bumps
        perturbation = (image - clean).astype(np.float64)
        place, other = _place(shape, side, draw[:, 0], draw[:, 1]), _place(shape, side, draw[:, 2], draw[:, 3])
        either = np.zeros(shape, dtype=bool)
        either[place] = either[other] = True
        unused = np.maximum(eps**2 - _length(perturbation, (1, 2, 3)) ** 2, 0) / shape[1]
        available = np.sqrt(unused + _length(np.where(either, perturbation, 0), (2, 3)) ** 2)
        old = perturbation[place]
        square = _bumps(side, draw[:, 4], draw[:, PLACES:]) + old / (_length(old, (2, 3)) + TINY)
        perturbation[other] = 0
        perturbation[place] = square / (_length(square, (2, 3)) + TINY) * available
        return _scaled(clean, perturbation, eps)


WINDOWS: dict[NormName, Window] = {"linf": LinfWindow(), "l2": L2Window()}


def _place(shape: tuple[int, ...], side: int, top: Draw, left: Draw) -> tuple[NDArray[np.intp], ...]:
    """The index of one square [C, side, side] in each image; `top` and `left` [B] say where, from 0 to 1."""
    count, channels, height, width = shape
    rows = (top * (height - side + 1)).astype(int)[:, None] + np.arange(side)
    columns = (left * (width - side + 1)).astype(int)[:, None] + np.arange(side)
    image, channel = np.arange(count)[:, None, None, None], np.arange(channels)[None, :, None, None]
    return image, channel, rows[:, None, :, None], columns[:, None, None, :]


def _bumps(side: int, way: Draw, draw: Draw) -> NDArray[np.float64]:
    """Two opposite bumps of norm 1 together, [B, C, side, side]; `way` [B] turns them, `draw` [B, C] are signs."""
    pair = np.concatenate([_bump(side // 2, side), -_bump(side - side // 2, side)])
    pair /= np.linalg.norm(pair)
    lying = np.where(way[:, None, None] > 0.5, pair.T, pair)
    bumps: NDArray[np.float64] = lying[:, None] * _signs(draw)[:, :, None, None]
    return bumps


def _bump(height: int, width: int) -> NDArray[np.float64]:
    """Squares [height, width] on top of each other about the middle, each of weight 1 / n^2, n its distance from it."""
    row, column = height // 2, width // 2
    bump = np.zeros((height, width))
    for n in range(max(row, column) + 1):
        bump[max(row - n, 0) : row + n + 1, max(column - n, 0) : column + n + 1] += 1 / (n + 1) ** 2
    return bump / max(float(np.linalg.norm(bump)), TINY)


def _scaled(clean: Array, perturbation: NDArray[np.float64], eps: float) -> Array:
    """The images that lie eps from the clean ones in the direction of the perturbations, cut off at 0 and 1."""
    direction = perturbation / (_length(perturbation, (1, 2, 3)) + TINY)
    return _within(clean + (eps * direction).astype(np.float32))


def _length(perturbation: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.sqrt(np.square(perturbation).sum(axis=axes, keepdims=True))
    return length


def _signs(draw: Draw) -> Array:
    return np.where(draw < 0.5, np.float32(-1), np.float32(1))


def _within(images: Array) -> Array:
    return images.clip(0, 1).astype(np.float32)
