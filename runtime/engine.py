"""What runs a member's graph: ONNX Runtime on the processor, OpenVINO, or ONNX Runtime on a CUDA device."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.sessions import CUDA, open_session

EngineName = Literal["onnxruntime", "openvino", "cuda"]
EngineSetting = Literal["onnxruntime", "openvino", "cuda", "auto"]
Floats = NDArray[np.float32]

Run = Callable[[Floats, ort.RunOptions | None], Floats]
"""Images [N, C, H, W] to logits [N, K]; raises what the engine raises. Several threads may call it."""


@dataclass(frozen=True)
class Engine:
    """What runs a member, and why, where another was asked for or could have been chosen."""

    name: EngineName = "onnxruntime"
    reason: str | None = None


@dataclass(frozen=True)
class MemberGraph:
    """A member's graph: its bytes, what messages call it, and the sizes that the manifest gives it."""

    data: bytes
    where: str
    shape: tuple[int, int, int]
    """Channels, height, width."""
    n_classes: int

    def on_onnxruntime(self, *, cuda: bool = False) -> Run:
        """Raises BundleError if ONNX Runtime, or a CUDA device, does not take the graph."""
        session = open_session(self.data, self.where, {"image": [*self.shape]}, {"logits": [self.n_classes]}, cuda=cuda)

        def run(images: Floats, options: ort.RunOptions | None) -> Floats:
            logits: Floats = session.run(("logits",), {"image": images}, options)[0]
            return logits

        return run

    def on(self, name: EngineName, cores: int) -> Run:
        """The graph on an engine, for callers on at most `cores` threads. Raises BundleError if it does not take it."""
        if (absent := lacks(name)) is not None:
            raise BundleError(absent)
        if name != "openvino":
            return self.on_onnxruntime(cuda=name == "cuda")
        from runtime.openvino_engine import OpenVino

        return OpenVino(self.data, self.shape, cores)


def lacks(name: EngineName) -> str | None:
    """What an engine needs and is not installed; None where nothing is missing."""
    if name == "openvino" and find_spec("openvino") is None:
        return "it needs the package openvino: pip install 'empir-serve[openvino]'"
    if name == "cuda" and CUDA not in ort.get_available_providers():
        return "the installed ONNX Runtime has no CUDA: it needs the package onnxruntime-gpu"
    return None
