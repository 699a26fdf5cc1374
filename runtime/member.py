"""A member at work: one network of the ensemble, from images to logits."""

import time
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from runtime import manifest
from runtime.bundle import Bundle
from runtime.sessions import first_line, open_session

Images = NDArray[np.float32]
Logits = NDArray[np.float32]
Reason = Literal["error", "nonfinite", "deadline"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a member gave for a batch: logits [N, K], or the reason for none, and the seconds it took."""

    logits: Logits | None
    seconds: float
    reason: Reason | None = None
    detail: str = ""


class Network(Protocol):
    """What an ensemble needs of a member: tests vote with toys of this shape."""

    name: str
    precision: manifest.Precision
    temperature: float

    def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
        """Logits for images float32 [N, C, H, W]. Never raises: a failure is an Answer without logits."""
        ...


class Member:
    """A member graph in a session of its own."""

    def __init__(self, bundle: Bundle, entry: manifest.Member) -> None:
        """Raises BundleError if the graph cannot be loaded or its shapes are not the manifest's."""
        self.name = entry.name
        self.precision = entry.precision
        self.temperature = entry.temperature
        spec = bundle.manifest.input
        self._session = open_session(
            bundle.graphs[entry.file],
            str(bundle.folder / entry.file),
            {"image": [spec.channels, spec.height, spec.width]},
            {"logits": [len(bundle.manifest.labels)]},
        )

    def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
        """Logits float32 [N, K] for images float32 [N, C, H, W] in [0, 1]. Never raises."""
        start = time.perf_counter()
        try:
            logits: Logits = self._session.run(("logits",), {"image": images}, options)[0]
        except Exception as error:  # a member that fails has no vote, whatever the reason
            return Answer(None, time.perf_counter() - start, "error", first_line(error))
        return Answer(logits, time.perf_counter() - start)
