"""Which kernels a member really runs, and for how long: ONNX Runtime's own profile of a few images."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from runtime import manifest
from runtime.bundle import Bundle
from runtime.sessions import open_session

INTEGER = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearGlobalAveragePool"),
        *("MatMulInteger", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "ConvInteger"),
    }
)
"""Operators that compute with integers of 8 bits or fewer."""
SLOW = frozenset({"ConvInteger"})
"""Of these, those that ONNX Runtime has no fast kernel for: twenty times slower than QLinearConv."""


@dataclass(frozen=True)
class Kernels:
    """Seconds for one image by operator, as the session runs it after ONNX Runtime's optimisations."""

    seconds: Mapping[str, float]

    @property
    def integer_share(self) -> float:
        """Share of the time in kernels that compute with integers."""
        total = sum(self.seconds.values())
        return sum(spent for name, spent in self.seconds.items() if name in INTEGER) / total if total else 0.0

    @property
    def slow(self) -> list[str]:
        """Integer operators without a fast kernel."""
        return sorted(SLOW & self.seconds.keys())

    def longest(self, count: int) -> list[str]:
        """The operators that took longest, longest first."""
        return sorted(self.seconds, key=lambda name: -self.seconds[name])[:count]


def kernels_of(bundle: Bundle, entry: manifest.Member, images: int = 20) -> Kernels:
    """Profile a member on black images, one at a time. Raises BundleError if its graph cannot be loaded."""
    spec = bundle.manifest.input
    image = np.zeros((1, spec.channels, spec.height, spec.width), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(
            bundle.graphs[entry.file],
            str(bundle.folder / entry.file),
            {"image": [spec.channels, spec.height, spec.width]},
            {"logits": [len(bundle.manifest.labels)]},
            profile=Path(folder) / "profile",
        )
        for _ in range(images):
            session.run(("logits",), {"image": image})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return Kernels(seconds_by_operator(events))


def seconds_by_operator(events: list[Any]) -> dict[str, float]:
    """From a profile's events: each node's median time, for whatever interrupts a run counts once, added up."""
    nodes: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            nodes.setdefault((event["args"]["op_name"], event["name"]), []).append(event["dur"] / 1e6)
    seconds: dict[str, float] = {}
    for (operator, _), times in nodes.items():
        seconds[operator] = seconds.get(operator, 0.0) + median(times)
    return seconds
