"""Building ONNX graphs node by node."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from export.graphs.ways import EXPORTED, Ways

OPSET = 25
"""The first opset with 2-bit integers."""
IR_VERSION = 13
CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

Shape = tuple[int, ...]


class GraphBuilder:
    """An ONNX graph under construction. Values are their names; shapes leave out the free batch axis.

    A value is float32, or integer levels held as uint8 with a zero point.
    """

    def __init__(self, ways: Ways = EXPORTED, only: str | None = None) -> None:
        """`only`: the path of the one layer that is written in these ways, the others as usual."""
        self._ways, self._only = ways, only
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._shapes: dict[str, Shape] = {}
        self._zero_points: dict[str, int] = {}
        self._domains: set[str] = set()
        self._path: list[str] = []

    def input(self, name: str, shape: Shape) -> str:
        """A float32 input [N, *shape]."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
        self._shapes[name] = shape
        return name

    def output(self, value: str, name: str, shape: Shape) -> None:
        """Make `value` the float32 output [N, *shape] called `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Where `name` is put in front of the names of parameters, as a network does with those of its layers."""
        self._path.append(name)
        yield
        self._path.pop()

    @property
    def ways(self) -> Ways:
        """How to write the layer at hand."""
        return self._ways if self._only in (None, ".".join(self._path)) else EXPORTED

    def parameter(self, name: str, value: NDArray[Any]) -> str:
        """A layer's own tensor, stored under its path in the network: `5.branch.0.weight`."""
        return self._store(value, ".".join([*self._path, name]))

    def constant(self, value: ArrayLike, dtype: type[np.generic], *, shared: bool = True) -> str:
        """A constant of this dtype; equal constants are stored once unless `shared` is false."""
        array = np.asarray(value, dtype=dtype)
        if not shared:
            return self._store(array, f"tensor_{len(self._initializers)}")
        shape = "x".join(map(str, array.shape)) or "scalar"
        key = f"{array.dtype.name}_{shape}_{hashlib.sha256(array.tobytes()).hexdigest()[:12]}"
        return key if key in self._initializers else self._store(array, key)

    def node(
        self,
        op: str,
        *inputs: str,
        shape: Shape | None = None,
        zero_point: int | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """The single output of a new node; its shape and, of levels, its zero point can be asked for if given."""
        name = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, domain=domain, **attributes))
        if domain:
            self._domains.add(domain)
        if shape is not None:
            self._shapes[name] = shape
        if zero_point is not None:
            self._zero_points[name] = zero_point
        return name

    def shape_of(self, value: str) -> Shape:
        return self._shapes[value]

    def zero_point_of(self, value: str) -> int | None:
        """What stands for level 0 in a value of uint8 levels; None for float32."""
        return self._zero_points.get(value)

    def _store(self, array: NDArray[Any], name: str) -> str:
        if name in self._initializers:
            raise ValueError(f"expected one tensor of the name {name}")
        self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def build(self, name: str) -> onnx.ModelProto:
        """The checked model. Raises onnx.checker.ValidationError if it is not valid ONNX."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._initializers.values()))
        imports = [
            helper.make_opsetid("", OPSET),
            *(helper.make_opsetid(domain, 1) for domain in sorted(self._domains)),
        ]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="empir-serve")
        onnx.checker.check_model(model, full_check=True)
        return model
