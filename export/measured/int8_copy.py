"""One int8 model alone, to compare an ensemble's cost with where it has no int8 member of its own."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.measured.shortest import ROUNDS, shortest_us
from export.post_training.classifier import Preprocessing, read_classifier
from export.post_training.quantization import QUICK
from export.post_training.quantized_bundle import MemberGraph, quantized_member
from models.precision import Precision
from runtime.bundle import Bundle
from runtime.manifest import Int8Copy, Member
from runtime.sessions import open_session

INT8 = Precision(8, 8)
IMAGES = 8


def int8_copy(bundle: Bundle, rounds: int = ROUNDS) -> Int8Copy | None:
    """What the full-precision member would cost in int8, quantized after training.

    None where the bundle has an int8 member, or no full-precision one. Its levels are chosen quickly, and on noise: how
    well they are chosen changes no cost. Raises QuantizationError for an operator without a rule.
    """
    alone = compared(bundle)
    if alone is None:
        return None
    graph = bundle.graphs[alone.file]
    spec = bundle.manifest.input
    shape, classes = [spec.channels, spec.height, spec.width], len(bundle.manifest.labels)
    images = np.random.default_rng(0).random((IMAGES, *shape), dtype=np.float32)
    copy = _quantized(graph, images)
    sessions = {
        name: open_session(data, name, {"image": shape}, {"logits": [classes]})
        for name, data in (("fp32", graph), ("int8", copy.graph))
    }
    times = shortest_us({n: partial(s.run, None, {"image": images[:1]}) for n, s in sessions.items()}, rounds)
    return Int8Copy(
        of=alone.name,
        file_bytes=len(copy.graph),
        macs=alone.macs,
        bit_operations=alone.macs * INT8.weights * INT8.activations,
        us=times["int8"],
        rounds=rounds,
        over_fp32=round(times["int8"] / times["fp32"], 3),
    )


def compared(bundle: Bundle) -> Member | None:
    """The member to make a copy of; None where none is needed, or none can be made."""
    members = bundle.manifest.members
    if any(str(member.precision) == str(INT8) for member in members):
        return None
    return next((member for member in members if member.precision.is_float), None)


def _quantized(graph: bytes, images: NDArray[np.float32]) -> MemberGraph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fp32.onnx"
        path.write_bytes(graph)
        return quantized_member(read_classifier(path, Preprocessing()), "int8", INT8, images, QUICK)
