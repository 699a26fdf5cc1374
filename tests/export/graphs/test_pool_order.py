"""export/graphs/integer_graph.py: levels are pooled before they are clipped, with channels last."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.graphs.integer_graph import member_graph
from models.integer import Dequantize, IntegerConv2d, Output, QuantizeInput

Run = Callable[..., list[NDArray[np.float32]]]


def network(output: Output, padding: int) -> nn.Sequential:
    """Sums far beyond the levels on both sides."""
    torch.manual_seed(0)
    conv = IntegerConv2d(
        torch.randint(-7, 8, (16, 4, 3, 3)).float(),
        torch.tensor((output.range[1] + 1) / 60),
        None,
        stride=1,
        padding=1,
        weight_bits=4,
        in_bits=4,
        output=output,
        grid="symmetric",
    )
    pool = nn.MaxPool2d(3, 2, padding=padding)
    return nn.Sequential(QuantizeInput(4), conv, pool, Dequantize(torch.tensor(1.0)), nn.Flatten())


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    "output", [Output(2), Output(4), Output(8), Output(4, signed=True)], ids=["2", "4", "8", "4 signed"]
)
def test_pooled_levels_are_those_of_torch(output: Output, padding: int, run_graph: Run) -> None:
    pooled = network(output, padding)
    images = torch.rand(5, 4, 9, 9)
    expected = pooled(images).numpy()
    assert expected.max() == output.range[1]

    (found,) = run_graph(member_graph(pooled, (4, 9, 9), "pooled"), image=images.numpy())

    np.testing.assert_array_equal(found, expected)


def test_onnx_runtime_pools_with_channels_last(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 4
    model = member_graph(network(Output(4), 0), (4, 9, 9), "pooled")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert "NhwcMaxPool" in operators and "MaxPool" not in operators
