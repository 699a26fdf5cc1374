"""The quantized network as ONNX: QuantizeLinear and DequantizeLinear as ONNX Runtime makes integer kernels of them."""

import hashlib
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.post_training.grids import Grid
from export.post_training.onnx_nodes import OnnxGraph
from export.post_training.quantization import Quantized, QuantizedLayer
from export.post_training.weighted_layers import WeightedLayer, weighted_layer

MOST_SUM = 2.0**30
"""Biases are int32, with room for the sums."""


def qdq_graph(graph: OnnxGraph, quantized: Quantized, name: str) -> onnx.ModelProto:
    """The float graph with the grids and levels of `quantized`. Raises onnx.checker.ValidationError if not valid."""
    return _Writer(graph, quantized).model(name)


class _Writer:
    """Names that are made here have a # in them, which keeps them apart from the model's."""

    def __init__(self, graph: OnnxGraph, quantized: Quantized) -> None:
        self._graph, self._quantized = graph, quantized
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def model(self, name: str) -> onnx.ModelProto:
        source = self._graph.model
        self._quantize(self._graph.input)
        for node in self._graph.nodes:
            self._write(node)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in source.graph.initializer if tensor.name in used]
        graph = helper.make_graph(
            self._nodes, name, source.graph.input, source.graph.output, [*kept, *self._initializers.values()]
        )
        model = helper.make_model(
            graph, opset_imports=source.opset_import, ir_version=source.ir_version, producer_name="empir-serve"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _write(self, node: onnx.NodeProto) -> None:
        """Copy the node, its inputs from their grids, its weights from their levels, its outputs onto theirs."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(self._dequantized(name, node, index) for index, name in enumerate(node.input))
        layer = weighted_layer(self._graph, node)
        if layer is None:
            self._nodes.append(copy)
        else:
            self._write_layer(copy, layer)
        for output in node.output:
            self._quantize(output)

    def _write_layer(self, copy: onnx.NodeProto, layer: WeightedLayer) -> None:
        chosen = self._quantized.layers[layer.node.name]
        grid = self._quantized.grids[layer.node.input[0]]
        levels, scales = _room_for_bias(chosen, grid.scale, layer.axis)
        del copy.input[1:]
        copy.input.append(self._weight(layer, levels, scales, chosen.bits))
        if layer.node.op_type != "MatMul":
            copy.input.append(self._bias(layer.node.name, chosen.bias, scales * np.float32(grid.scale)))
            self._nodes.append(copy)
            return
        copy.output[0] = f"{layer.node.output[0]}#sums"
        bias = self._store(f"{layer.node.name}#bias", chosen.bias)
        self._nodes += [copy, helper.make_node("Add", [copy.output[0], bias], [layer.node.output[0]])]

    def _weight(self, layer: WeightedLayer, levels: NDArray[np.int8], scales: NDArray[Any], bits: int) -> str:
        name = f"{layer.node.name}#weight"
        if bits > 4:
            stored = self._store(f"{name}#levels", levels)
        else:
            packed = self._store(f"{name}#packed", levels.astype(ml_dtypes.int2 if bits <= 2 else ml_dtypes.int4))
            # Folded when the session loads: small in the file, int8 in the kernel.
            stored = self._node("Cast", [packed], f"{name}#levels", to=TensorProto.INT8)
        # Not shared: ONNX Runtime rewrites zero points in place where it wants u8 x u8 kernels.
        zeros = self._store(f"{name}#zero_points", np.zeros(len(scales), np.int8))
        return self._node(
            "DequantizeLinear", [stored, self._store(f"{name}#scales", scales), zeros], name, axis=layer.axis
        )

    def _bias(self, node: str, bias: NDArray[np.float32], scales: NDArray[np.float32]) -> str:
        levels = self._store(f"{node}#bias#levels", np.rint(bias / scales).astype(np.int32))
        zeros = self._store(f"{node}#bias#zero_points", np.zeros(len(bias), np.int32))
        scale = self._store(f"{node}#bias#scales", scales)
        return self._node("DequantizeLinear", [levels, scale, zeros], f"{node}#bias", axis=0)

    def _quantize(self, value: str) -> None:
        grid = self._quantized.grids.get(value)
        if grid is not None:
            self._node("QuantizeLinear", [value, *self._grid(grid)], f"{value}#levels")

    def _dequantized(self, value: str, node: onnx.NodeProto, index: int) -> str:
        """The value as the node takes it: each consumer has a DequantizeLinear of its own, as ONNX Runtime asks."""
        grid = self._quantized.grids.get(value)
        if grid is None:
            return value
        inputs = [f"{value}#levels", *self._grid(grid)]
        return self._node("DequantizeLinear", inputs, f"{node.name}#input_{index}")

    def _grid(self, grid: Grid) -> tuple[str, str]:
        scale, zero = np.array(grid.scale, np.float32), np.array(grid.zero_point, np.uint8)
        key = hashlib.sha256(scale.tobytes()).hexdigest()[:8]
        return self._store(f"#scale_{key}", scale), self._store(f"#zero_point_{grid.zero_point}", zero)

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def _store(self, name: str, value: NDArray[Any]) -> str:
        self._initializers[name] = numpy_helper.from_array(value, name)
        return name


def _room_for_bias(
    chosen: QuantizedLayer, input_scale: float, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Levels and scales; a channel whose weights are next to nothing gets a scale at which its bias fits int32."""
    smallest = np.abs(chosen.bias) / np.float32(input_scale * MOST_SUM)
    scales = np.maximum(chosen.scales, smallest).astype(np.float32)
    shape = [1] * chosen.levels.ndim
    shape[axis] = -1
    levels = np.rint(chosen.levels * (chosen.scales / scales).reshape(shape)).astype(np.int8)
    return levels, scales
