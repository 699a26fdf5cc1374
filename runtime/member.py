"""A member at work: one network of the ensemble, from images to logits."""

import time
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from runtime import manifest
from runtime.bundle import Bundle
from runtime.engine import EngineSetting, MemberGraph
from runtime.engine_choice import choose
from runtime.sessions import first_line

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
    """A member graph on an engine."""

    def __init__(
        self, bundle: Bundle, entry: manifest.Member, engine: EngineSetting = "onnxruntime", cores: int = 1
    ) -> None:
        """`cores`: how many threads may ask it at once.

        Raises BundleError if the graph cannot be loaded, its shapes are not the manifest's, or the engine does not take
        it.
        """
        self.name = entry.name
        self.precision = entry.precision
        self.temperature = entry.temperature
        spec = bundle.manifest.input
        shape = (spec.channels, spec.height, spec.width)
        graph = MemberGraph(
            bundle.graphs[entry.file], str(bundle.folder / entry.file), shape, len(bundle.manifest.labels)
        )
        self._run, self.engine = choose(graph, engine, cores)

    def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
        """Logits float32 [N, K] for images float32 [N, C, H, W] in [0, 1]. Never raises."""
        start = time.perf_counter()
        try:
            logits = self._run(images, options)
        except Exception as error:  # a member that fails has no vote, whatever the reason
            return Answer(None, time.perf_counter() - start, "error", first_line(error))
        return Answer(logits, time.perf_counter() - start)
