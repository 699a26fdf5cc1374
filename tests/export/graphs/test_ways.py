"""export/graphs/ways.py: whatever way a layer is written, the integers are torch's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.graphs.integer_graph import member_graph
from export.graphs.ways import EXPORTED, OTHERS, Ways
from models.folding import freeze
from models.integer import IntegerLinear, Output, QuantizeInput
from models.precision import Precision
from models.quantization import quantized

Run = Callable[..., list[NDArray[np.float32]]]
SHAPE = (1, 10, 10)


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    """Layers of every kind that could be written otherwise: one channel, a max pool, a linear layer of many weights."""
    torch.manual_seed(0)
    floats = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(80, 1700), nn.ReLU(), nn.Linear(1700, 40), nn.ReLU(), nn.Linear(40, 3),
    )  # fmt: skip
    return freeze(quantized(floats, Precision(4, 4), torch.rand(20, *SHAPE)))


@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in OTHERS.items()])
def test_every_way_gives_torchs_logits(way: Ways, network: nn.Sequential, run_graph: Run) -> None:
    images = torch.randint(0, 256, (7, *SHAPE)).float() / 255
    (found,) = run_graph(member_graph(network, SHAPE, "toy", way), image=images.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found, network(images).numpy(), rtol=0, atol=1e-6)


def test_the_ways_are_others(network: nn.Sequential) -> None:
    """Large layers are in few bits already, so each way but one writes another graph; that one needs a larger layer."""
    graphs = {name: member_graph(network, SHAPE, "toy", way).SerializeToString() for name, way in OTHERS.items()}
    exported = member_graph(network, SHAPE, "toy", EXPORTED).SerializeToString()
    assert exported == member_graph(network, SHAPE, "toy").SerializeToString()
    assert {name for name, graph in graphs.items() if graph == exported} == {"weights in 8 bits"}
    assert len(set(graphs.values())) == len(OTHERS)


def test_without_few_bits_no_linear_layer_has_them() -> None:
    weight = torch.zeros(1024, 1024)
    large = IntegerLinear(
        weight, torch.tensor(1.0), None, weight_bits=4, in_bits=4, output=Output(None), grid="symmetric"
    )
    network = nn.Sequential(nn.Flatten(), QuantizeInput(4), large)
    operators = [
        {node.op_type for node in member_graph(network, (1, 32, 32), "toy", way).graph.node}
        for way in (EXPORTED, OTHERS["weights in 8 bits"])
    ]
    assert ["MatMulNBits" in each for each in operators] == [True, False]
