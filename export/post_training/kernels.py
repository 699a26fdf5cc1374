"""Which kernels ONNX Runtime really runs for a graph."""

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime as ort

LAYERS = ("Conv", "FusedConv", "NhwcFusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
INTEGER_LAYERS = (
    "QLinearConv",
    "QGemm",
    "QLinearMatMul",
    "MatMulIntegerToFloat",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
)


def kernels(graph: bytes) -> Counter[str]:
    """How many kernels of each operator are left when a session has optimised the graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)


def integer_layers(graph: bytes) -> tuple[int, int]:
    """Layers with weights that run on integer kernels, and all of them."""
    found = kernels(graph)
    integer = sum(found[operator] for operator in INTEGER_LAYERS)
    return integer, integer + sum(found[operator] for operator in LAYERS)
