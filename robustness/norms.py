"""Norms of perturbations: how to start in their ball, step in it and stay in it."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
NormName = Literal["linf", "l2"]
TINY = np.float32(1e-30)


class Norm(Protocol):
    """What a gradient attack needs of a norm. Arrays are [B, C, H, W], eps in the units of pixels in [0, 1]."""

    def random(self, shape: tuple[int, ...], eps: float, generator: np.random.Generator) -> Array:
        """Points drawn uniformly from the ball of radius eps."""
        ...

    def steepest(self, gradient: Array) -> Array:
        """The perturbation of norm 1 that a linear function with this gradient grows most along; 0 where it is 0."""
        ...

    def project(self, perturbation: Array, eps: float | Array) -> Array:
        """The nearest point of the ball of radius eps, or of a ball for each, [B, 1, 1, 1]."""
        ...

    def largest(self, shape: tuple[int, ...]) -> float:
        """The largest norm of a difference between two images [C, H, W] in [0, 1]."""
        ...

    def size(self, perturbation: Array) -> NDArray[np.float64]:
        """The norm of each perturbation, [B]."""
        ...


class Linf:
    """The largest change of a pixel."""

    def random(self, shape: tuple[int, ...], eps: float, generator: np.random.Generator) -> Array:
        return generator.uniform(-eps, eps, shape).astype(np.float32)

    def steepest(self, gradient: Array) -> Array:
        return np.sign(gradient)

    def project(self, perturbation: Array, eps: float | Array) -> Array:
        limit = np.asarray(eps, dtype=np.float32)
        return perturbation.clip(-limit, limit)

    def largest(self, shape: tuple[int, ...]) -> float:
        return 1.0

    def size(self, perturbation: Array) -> NDArray[np.float64]:
        size: NDArray[np.float64] = np.abs(_flat(perturbation)).max(axis=1).astype(np.float64)
        return size


class L2:
    """The Euclidean length of the change."""

    def random(self, shape: tuple[int, ...], eps: float, generator: np.random.Generator) -> Array:
        direction = generator.standard_normal(shape).astype(np.float32)
        dimensions = int(np.prod(shape[1:]))
        radius = eps * generator.uniform(size=(shape[0], 1, 1, 1)) ** (1 / dimensions)
        return (self.steepest(direction) * radius).astype(np.float32)

    def steepest(self, gradient: Array) -> Array:
        # By the largest entry first: squares of tiny gradients underflow.
        largest = np.abs(_flat(gradient)).max(axis=1).reshape(-1, 1, 1, 1)
        scaled = gradient / np.maximum(largest, TINY)
        length = np.sqrt(np.square(_flat(scaled)).sum(axis=1)).reshape(-1, 1, 1, 1)
        unit: Array = scaled / np.maximum(length, TINY)
        return unit

    def project(self, perturbation: Array, eps: float | Array) -> Array:
        length = self.size(perturbation).reshape(-1, 1, 1, 1)
        return (perturbation * np.minimum(1, eps / np.maximum(length, TINY))).astype(np.float32)

    def largest(self, shape: tuple[int, ...]) -> float:
        return float(np.sqrt(np.prod(shape)))

    def size(self, perturbation: Array) -> NDArray[np.float64]:
        size: NDArray[np.float64] = np.linalg.norm(_flat(perturbation).astype(np.float64), axis=1)
        return size


def eps_text(eps: float) -> str:
    """An eps as people write it.

    >>> [eps_text(eps) for eps in (0.3, 8 / 255, 0.5, 0.0123456)]
    ['0.3', '8/255', '0.5', '0.01235']
    """
    levels = round(eps * 255)
    exact = abs(float(f"{eps:.4g}") - eps) < 1e-9
    return f"{levels}/255" if not exact and abs(levels / 255 - eps) < 1e-6 else f"{eps:.4g}"


def _flat(array: Array) -> Array:
    return array.reshape(len(array), int(np.prod(array.shape[1:])))  # -1 will not do for no images


NORMS: dict[NormName, Norm] = {"linf": Linf(), "l2": L2()}
