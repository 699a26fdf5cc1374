"""The parity gate: what is served must be what was trained, and gradients must be torch's, or there is no bundle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.data.examples import Examples
from runtime.errors import EmpirError
from runtime.gradients import Differentiable
from runtime.member import Network

TOLERANCE = 1e-4
BATCH = 250
ASIDE = np.geomspace(1e-4, 1e-2, 10)
"""How far pixels are moved to get off a kink, at most, try after try: an even background is a tie in every window of a
max pool, and after a small move still nearly one, which a processor's way to add may decide."""
MOST_KINKS, FEW_KINKS = 0.05, 3
"""Share of the compared images that may be on a kink, and how many always may. Of the members here at most 9 of 1,000
images are: many more are no accident of rounding."""


class ParityError(EmpirError):
    """A graph that disagrees with the network it was made from."""

    code = "parity"


@dataclass(frozen=True)
class Parity:
    """How far a member's graphs are from torch; errors are relative to the largest value of torch's answer."""

    member: str
    images: int
    logits_error: float
    gradient_images: int
    gradient_error: float
    kinks: int
    """Images on a kink of the network, whose gradients were compared a little to the side; their error counts as 0."""


def check_parity(
    network: nn.Module,
    member: Network,
    gradient: Differentiable,
    split: Examples,
    *,
    gradient_images: int = 1000,
    seed: int = 0,
) -> Parity:
    """Compare a member's served graph and gradient graph with its frozen network, on the images of `split`.

    Raises ParityError unless the served graph gives the same class to every image, and logits within 1e-4 of the
    largest; and, for the first `gradient_images` images and random cotangents, the gradient graph does so too, with
    gradients within 1e-4 of each image's norm. Where a float layer has a kink (a ReLU at 0, two equal values in a max
    pool), rounding decides between two right gradients: an image whose gradients differ passes if they agree when its
    pixels are moved by random amounts, in one of 10 tries: by at most 1e-4 in the first, by at most 1e-2 in the last.
    So may 5% of them at most, or 3.
    """
    logits_error = _compare_logits(network, member, split)
    count = min(gradient_images, len(split))
    gradient_error, kinks = _compare_gradients(network, gradient, split, count, seed)
    return Parity(member.name, len(split), logits_error, count, gradient_error, kinks)


def _compare_logits(network: nn.Module, member: Network, split: Examples) -> float:
    logits = _LogitsErrors(f"member {member.name}: the member graph")
    for start in range(0, len(split), BATCH):
        images = split.pixels(start, start + BATCH)
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        answer = member.answer(images)
        if answer.logits is None:
            raise ParityError(f"member {member.name}: failed on images from {start}: {answer.detail}")
        logits.add(answer.logits, expected)
    return logits.relative()


class _LogitsErrors:
    """A graph's logits against torch's, batch by batch in the order of the images; `graph` is its name in messages."""

    def __init__(self, graph: str) -> None:
        self._graph, self._images, self._error, self._largest = graph, 0, 0.0, 0.0

    def add(self, found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
        """Raises ParityError if a number is not finite or a class differs."""
        differ = found.argmax(axis=1) != expected.argmax(axis=1)
        for wrong, what in (
            (~np.isfinite(found).all(axis=1), "not finite logits"),
            (differ, "another class than torch"),
        ):
            if wrong.any():
                raise ParityError(f"{self._graph} gives {what} to image {self._images + int(wrong.argmax())}")
        self._images += len(found)
        self._error = max(self._error, float(np.abs(found - expected).max()))
        self._largest = max(self._largest, float(np.abs(expected).max()))

    def relative(self) -> float:
        """The largest difference over the largest of torch's logits. Raises ParityError beyond the tolerance."""
        if self._error > TOLERANCE * self._largest:
            raise ParityError(
                f"{self._graph} differs from torch by {self._error:.3g} in its logits, more than {TOLERANCE} of the "
                f"largest, {self._largest:.3g}"
            )
        return self._error / self._largest if self._largest else 0.0


def _compare_gradients(
    network: nn.Module, graph: Differentiable, split: Examples, count: int, seed: int
) -> tuple[float, int]:
    generator = np.random.default_rng(seed)
    logits_errors = _LogitsErrors(f"member {graph.name}: the gradient graph")
    worst, kinks, classes = 0.0, 0, _class_count(network, split)
    for start in range(0, count, BATCH):
        images = split.pixels(start, min(start + BATCH, count))
        cotangents = generator.standard_normal((len(images), classes), dtype=np.float32)
        expected, expected_logits = _torch_gradients(network, images, cotangents)
        logits, gradients = graph.gradient(images, cotangents)
        logits_errors.add(logits, expected_logits)
        errors = _relative_errors(gradients, expected)
        for image in np.flatnonzero(~(errors <= TOLERANCE)):  # also NaN
            if np.isnan(errors[image]) or not _agree_aside(
                network, graph, images[[image]], cotangents[[image]], generator
            ):
                raise ParityError(
                    f"member {graph.name}: the gradient graph differs from torch by {errors[image]:.3g} of the norm "
                    f"on image {start + image}"
                )
            errors[image] = 0
            kinks += 1
        worst = max(worst, float(errors.max()))
    logits_errors.relative()
    if kinks > max(FEW_KINKS, MOST_KINKS * count):
        raise ParityError(
            f"member {graph.name}: the gradient graph agrees with torch only aside of {kinks} of {count} images, more "
            f"than {MOST_KINKS:.0%} and than {FEW_KINKS}: so many are on no kink"
        )
    return worst, kinks


def _class_count(network: nn.Module, split: Examples) -> int:
    with torch.no_grad():
        return int(network(torch.from_numpy(split.pixels(0, 1))).shape[1])


def _torch_gradients(
    network: nn.Module, images: NDArray[np.float32], cotangents: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """d(logits . cotangent)/d(image) and logits by torch's autograd."""
    tensor = torch.from_numpy(images).requires_grad_()
    logits = network(tensor)
    (gradient,) = torch.autograd.grad(logits, tensor, torch.from_numpy(cotangents))
    return gradient.numpy(), logits.detach().numpy()


def _agree_aside(
    network: nn.Module,
    graph: Differentiable,
    image: NDArray[np.float32],
    cotangent: NDArray[np.float32],
    generator: np.random.Generator,
) -> bool:
    """Whether the gradients of one image [1, C, H, W] agree a little to the side of it, off the kink that it is on."""
    for aside in ASIDE:
        moved = image + generator.uniform(-aside, aside, image.shape).astype(np.float32)
        expected, _ = _torch_gradients(network, moved, cotangent)
        if _relative_errors(graph.gradient(moved, cotangent)[1], expected)[0] <= TOLERANCE:
            return True
    return False


def _relative_errors(found: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """||found - expected|| / ||expected|| of each image; 0 where both are 0."""
    norms = [np.linalg.norm(values.reshape(len(values), -1), axis=1) for values in (found - expected, expected)]
    return np.where(norms[0] == 0, 0, norms[0] / np.maximum(norms[1], np.finfo(np.float32).tiny)).astype(np.float32)


def all_parities(
    networks: Sequence[nn.Module], members: Sequence[Network], gradients: Sequence[Differentiable], split: Examples
) -> list[Parity]:
    """`check_parity` for every member. Raises ParityError at the first that disagrees."""
    return [check_parity(n, m, g, split) for n, m, g in zip(networks, members, gradients, strict=True)]
