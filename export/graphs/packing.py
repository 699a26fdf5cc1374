"""Integer weight levels in as few bits as they need, stored in a graph and read back."""

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.graphs.graph import GraphBuilder
from models.integer import Grid
from models.learned import symmetric_top
from models.quantizers import top_level

Levels = NDArray[np.float32]


def pack(levels: Levels, bits: int, grid: Grid) -> NDArray[Any]:
    """Levels of any shape as they are stored.

    To 4 bits, odd levels 2q - n as q in UINT2 or UINT4, symmetric ones as they are in INT2 or INT4; wider ones in
    INT8 or INT16. Raises ValueError for levels that are not of the grid.
    """
    if bits > 4:
        return levels.astype(np.int8 if bits <= 8 else np.int16)
    if grid == "symmetric":
        top = symmetric_top(bits)
        if not np.array_equal(levels, np.round(levels)) or np.abs(levels).max(initial=0) > top:
            raise ValueError(f"expected integers of {-top} to {top} as {bits}-bit levels")
        return levels.astype(np.int8).astype(ml_dtypes.int2 if bits <= 2 else ml_dtypes.int4)
    n = top_level(bits)
    q = (levels + n) / 2
    if not np.array_equal(q, np.round(q)) or q.min(initial=0) < 0 or q.max(initial=0) > n:
        raise ValueError(f"expected odd integers of {-n} to {n} as {bits}-bit levels")
    return q.astype(np.uint8).astype(ml_dtypes.uint2 if bits <= 2 else ml_dtypes.uint4)


def unpack(stored: NDArray[Any], bits: int, grid: Grid) -> Levels:
    """The levels that `pack` stored, float32."""
    values = stored.astype(np.float32)
    return values if bits > 4 or grid == "symmetric" else 2 * values - top_level(bits)


def packed_levels(graph: GraphBuilder, name: str, levels: Levels, bits: int, grid: Grid) -> str:
    """The parameter `name`: levels as INT8 (INT16 beyond 8 bits), stored packed, unpacked when the session loads."""
    stored = graph.parameter(name, pack(levels, bits, grid))
    if bits > 4:
        return stored
    if grid == "symmetric":
        return graph.node("Cast", stored, to=TensorProto.INT8)
    wide = graph.node("Cast", stored, to=TensorProto.INT32)
    doubled = graph.node("Mul", wide, graph.constant(2, np.int32))
    return graph.node(
        "Cast", graph.node("Sub", doubled, graph.constant(top_level(bits), np.int32)), to=TensorProto.INT8
    )
