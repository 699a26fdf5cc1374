"""Toy members with given answers, and manifests for ensembles that are not on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from runtime.manifest import Input, Manifest, Member, Precision, Provenance, Vote
from runtime.member import Answer, Reason

Array = NDArray[np.float32]

FP32 = Precision(weights=32, activations=32)
W2A4 = Precision(weights=2, activations=4)
TOO_LATE = 1e9
"""Seconds that are more than any deadline."""


def numbered(count: int) -> Array:
    """Images [count, 1, 1, 1] that carry their own number."""
    return np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)


@dataclass
class ToyMember:
    """A Network with given logits for `numbered` images, or a given failure; it notes which images it was asked."""

    name: str
    precision: Precision
    logits: Array
    """[N, K]"""
    failure: Reason | None = None
    temperature: float = 1.0
    asked: list[list[int]] = field(default_factory=list)

    def answer(self, images: Array, options: ort.RunOptions | None = None) -> Answer:
        numbers = images[:, 0, 0, 0].astype(int).tolist()
        self.asked.append(numbers)
        if self.failure == "error":
            return Answer(None, 0.0, "error", "told to fail")
        return Answer(self.logits[numbers], TOO_LATE if self.failure == "deadline" else 0.0)


@dataclass
class LinearMember:
    """A Network with a gradient: logits = flat(image - 1/2) . weight + bias."""

    name: str
    precision: Precision
    weight: Array
    """[C H W, K]"""
    bias: Array
    """[K]"""
    temperature: float = 1.0

    def answer(self, images: Array, options: ort.RunOptions | None = None) -> Answer:
        return Answer(self._logits(images), 0.0)

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        return self._logits(images), (cotangents @ self.weight.T).reshape(images.shape)

    def _logits(self, images: Array) -> Array:
        return np.asarray((images.reshape(len(images), -1) - 0.5) @ self.weight + self.bias, dtype=np.float32)


def toy_entry(name: str, precision: Precision, **fields: str | float) -> Member:
    """A member's entry in a manifest."""
    counts = {"opset": 25, "parameters": 444, "packed_bytes": 0, "macs": 0}
    return Member.model_validate(
        {"name": name, "precision": precision, "file": f"{name}.onnx", "sha256": "0" * 64, **counts, **fields}
    )


def toy_manifest(
    members: Sequence[Member], tie_breaker: str, shape: tuple[int, int, int], labels: Sequence[str], name: str = "toy"
) -> Manifest:
    """A manifest for images (channels, height, width) and the majority rule."""
    return Manifest(
        schema_version=1,
        name=name,
        version="1",
        labels=tuple(labels),
        input=Input(channels=3 if shape[0] == 3 else 1, height=shape[1], width=shape[2], resize="stretch"),
        members=tuple(members),
        vote=Vote(rule="majority", tie_breaker=tie_breaker),
        provenance=Provenance(
            recipe="toy",
            command="pytest",
            git_commit="none",
            seed=0,
            data_set="quadrants",
            data_md5={},
            packages={},
            hardware="any",
            training_seconds=0,
            created="2020-02-02T20:20:02+00:00",
        ),
    )
