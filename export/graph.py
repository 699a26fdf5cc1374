"""Building ONNX graphs node by node."""

import hashlib
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 25
"""The first opset with 2-bit integers."""
IR_VERSION = 13

Shape = tuple[int, ...]


class GraphBuilder:
    """An ONNX graph under construction. Values are their names; shapes leave out the free batch axis."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._shapes: dict[str, Shape] = {}

    def input(self, name: str, shape: Shape) -> str:
        """A float32 input [N, *shape]."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
        self._shapes[name] = shape
        return name

    def output(self, value: str, name: str, shape: Shape) -> None:
        """Make `value` the float32 output [N, *shape] called `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))

    def constant(self, value: ArrayLike, dtype: type[np.generic], *, shared: bool = True) -> str:
        """A constant of this dtype; equal constants are stored once unless `shared` is false."""
        array = np.asarray(value, dtype=dtype)
        if not shared:
            return self._store(array)
        shape = "x".join(map(str, array.shape)) or "scalar"
        key = f"{array.dtype.name}_{shape}_{hashlib.sha256(array.tobytes()).hexdigest()[:12]}"
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(array, key)
        return key

    def node(self, op: str, *inputs: str, shape: Shape | None = None, **attributes: Any) -> str:
        """The single output of a new node; its shape, if given, can be asked for with `shape_of`."""
        name = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        if shape is not None:
            self._shapes[name] = shape
        return name

    def shape_of(self, value: str) -> Shape:
        return self._shapes[value]

    def packed_levels(self, levels: NDArray[np.float32], bits: int, dtype: int) -> str:
        """Integer weight levels as a value of the ONNX type `dtype`, stored in as few bits as they need.

        Levels of 1 to 4 bits are DoReFa's odd integers 2q - n: q is stored, as UINT2 or UINT4, and 2q - n folded when
        the session loads. Wider ones are stored as INT8.
        """
        if bits > 4:
            stored = self._store(levels.astype(np.int8))
            return self.node("Cast", stored, to=dtype) if dtype != TensorProto.INT8 else stored
        n = 2**bits - 1
        q = (levels + n) / 2
        if not np.array_equal(q, np.round(q)) or q.min() < 0 or q.max() > n:
            raise ValueError(f"expected odd integers of {-n} to {n} as {bits}-bit levels")
        stored = self._store(q.astype(ml_dtypes.uint2 if bits <= 2 else ml_dtypes.uint4))
        wide = self.node("Cast", stored, to=TensorProto.INT32)
        centred = self.node("Sub", self.node("Mul", wide, self.constant(2, np.int32)), self.constant(n, np.int32))
        return self.node("Cast", centred, to=dtype)

    def _store(self, array: NDArray[np.generic]) -> str:
        name = f"tensor_{len(self._initializers)}"
        self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def build(self, name: str) -> onnx.ModelProto:
        """The checked model. Raises onnx.checker.ValidationError if it is not valid ONNX."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._initializers.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="empir-serve"
        )
        onnx.checker.check_model(model, full_check=True)
        return model
