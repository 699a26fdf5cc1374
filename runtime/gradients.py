"""The gradient graphs of a bundle: d(logits . cotangent)/d(image) of each member, on ONNX Runtime."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime import manifest
from runtime.bundle import Bundle
from runtime.errors import BundleError
from runtime.sessions import open_session

Array = NDArray[np.float32]


class Differentiable(Protocol):
    """A network that can be attacked through its gradient."""

    name: str

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        """Logits [N, K] and d(logits . cotangents)/d(images) [N, C, H, W]."""
        ...


class GradientGraph:
    """A member's gradient graph in a session of its own; straight-through where the member rounds."""

    def __init__(self, bundle: Bundle, entry: manifest.Member) -> None:
        """Raises BundleError if there is none, it cannot be loaded, or its shapes are not the manifest's."""
        if entry.gradient_file is None:
            raise BundleError(f"{bundle.folder}: member {entry.name} has no gradient graph")
        where = str(bundle.folder / entry.gradient_file)
        if entry.gradient_file not in bundle.graphs:
            raise BundleError(f"{where}: the bundle was read without its gradient graphs")
        self.name = entry.name
        spec = bundle.manifest.input
        image, classes = [spec.channels, spec.height, spec.width], [len(bundle.manifest.labels)]
        self._session = open_session(
            bundle.graphs[entry.gradient_file],
            where,
            {"image": image, "cotangent": classes},
            {"logits": classes, "gradient": image},
            arena=True,
        )

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        """Logits [N, K] and gradient [N, C, H, W] for images [N, C, H, W] in [0, 1], cotangents [N, K]; all float32."""
        logits, gradient = self._session.run(("logits", "gradient"), {"image": images, "cotangent": cotangents})
        return logits, gradient


def load_gradients(bundle: Bundle) -> list[GradientGraph]:
    """The gradient graphs of all members, in the manifest's order, of a bundle that was read with `gradients=True`.

    Raises BundleError if a member has none, or the bundle was read without them.
    """
    return [GradientGraph(bundle, entry) for entry in bundle.manifest.members]
