"""An ONNX graph to walk through: its nodes in order, its constants, who consumes what, and one node at work."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Values = NDArray[Any]
CHUNK = 16
"""Images that a convolution is given at once, so that what it needs beside its result stays small."""


class OnnxGraph:
    """A model's nodes, constants and consumers; every node has a name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.input: str = model.graph.input[0].name
        self.output: str = model.graph.output[0].name
        self.floats = _float_values(model)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for index, node in enumerate(self.nodes):
            node.name = node.name or f"{node.op_type}_{index}"

    def variables(self, node: onnx.NodeProto) -> list[str]:
        """The node's inputs that depend on the image."""
        return [name for name in node.input if name and name not in self.constants]

    def float_variables(self, node: onnx.NodeProto) -> list[str]:
        """Those of `variables` that are float32, which shapes and indices are not."""
        return [name for name in self.variables(node) if name in self.floats]

    def consumers(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if value in node.input]

    def uses(self) -> Counter[str]:
        """How many nodes, the graph's output included, consume each value."""
        uses = Counter(name for node in self.nodes for name in set(node.input))
        uses[self.output] += 1
        return uses

    def run(self, node: onnx.NodeProto, values: Mapping[str, Values], replaced: Mapping[str, Values]) -> list[Values]:
        """The node's outputs [N, ...] for its inputs [N, ...]; `replaced` constants come instead of the graph's."""
        session = self._session(node, values, replaced)
        names = list(dict.fromkeys(self.variables(node)))
        if node.op_type != "Conv":  # only of a convolution is it certain that the first axis is the batch
            whole: list[Values] = session.run(None, {name: values[name] for name in names})
            return whole
        starts = range(0, len(values[names[0]]), CHUNK)
        parts = [session.run(None, {name: values[name][start : start + CHUNK] for name in names}) for start in starts]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _session(
        self, node: onnx.NodeProto, values: Mapping[str, Values], replaced: Mapping[str, Values]
    ) -> ort.InferenceSession:
        constants = {name: self.constants[name] for name in node.input if name in self.constants} | dict(replaced)
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(values[name].dtype), [None] * values[name].ndim
            )
            for name in dict.fromkeys(self.variables(node))
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        graph = helper.make_graph([node], "node", inputs, outputs, initializers)
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _float_values(model: onnx.ModelProto) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
