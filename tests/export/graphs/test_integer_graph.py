"""export/graphs/integer_graph.py: member graphs on ONNX Runtime against the frozen networks in torch."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto
from torch import nn

from export.graphs.integer_graph import member_graph
from models.folding import freeze
from models.networks import mnist_conv
from models.precision import Precision

Run = Callable[..., list[NDArray[np.float32]]]


def stored_types(model: onnx.ModelProto) -> set[str]:
    """The types of the weights."""
    return {TensorProto.DataType.Name(i.data_type) for i in model.graph.initializer if i.name.endswith("weight")}


@settings(max_examples=120)
@given(data=st.data())
def test_a_member_graph_answers_as_its_network(
    data: st.DataObject, networks: st.SearchStrategy[tuple[nn.Sequential, torch.Tensor]], run_graph: Run
) -> None:
    network, images = data.draw(networks)
    (found,) = run_graph(member_graph(network, tuple(images.shape[1:]), "drawn"), image=images.numpy())
    with torch.no_grad():
        expected = network(images).numpy()
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("precision", "stored"),
    [(f"w{bits}a4", name) for bits, name in zip(range(1, 9), ["UINT2"] * 2 + ["UINT4"] * 2 + ["INT8"] * 4, strict=True)]
    + [("fp32", "FLOAT")],
)
def test_weights_are_stored_in_as_few_bits_as_they_need(
    precision: str, stored: str, frozen_toy: Callable[[str], nn.Sequential]
) -> None:
    model = member_graph(frozen_toy(precision), (1, 8, 8), "toy")
    assert stored_types(model) == {stored, "FLOAT"}  # the last layer stays in full precision
    if precision != "fp32":
        weights = (i for i in model.graph.initializer if i.name.endswith("weight"))
        packed = [i for i in weights if i.data_type != TensorProto.FLOAT]
        width = {"UINT2": 2, "UINT4": 4, "INT8": 8}[stored]
        assert [len(i.raw_data) for i in packed] == [-(-int(np.prod(i.dims)) * width // 8) for i in packed]


@pytest.mark.parametrize(("precision", "limit"), [("w2a4", 250_000), ("w4a4", 450_000), ("fp32", 2_900_000)])
def test_mnist_conv_members_are_small(precision: str, limit: int) -> None:
    torch.manual_seed(0)
    network = freeze(mnist_conv(Precision.parse(precision)))
    assert len(member_graph(network, (1, 28, 28), "mnist").SerializeToString()) < limit


@pytest.mark.parametrize("precision", ["w2a4", "w8a8", "fp32"])
def test_the_batch_axis_is_free_and_the_others_are_fixed(
    precision: str, frozen_toy: Callable[[str], nn.Sequential], run_graph: Run
) -> None:
    model = member_graph(frozen_toy(precision), (1, 8, 8), "toy")
    images = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    (together,) = run_graph(model, image=images)
    alone = [run_graph(model, image=images[i : i + 1])[0] for i in range(5)]

    np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-5, atol=1e-6)
    assert run_graph(model, image=images[:0])[0].shape == (0, 4)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):  # ONNX Runtime's exceptions have no common base
        run_graph(model, image=images[:, :, 1:])


@pytest.mark.parametrize("precision", ["w2a4", "w8a8", "fp32"])
def test_pixels_beyond_the_ends_of_the_range_are_those_of_torch(
    precision: str, frozen_toy: Callable[[str], nn.Sequential], run_graph: Run
) -> None:
    network, images = frozen_toy(precision), torch.linspace(-0.5, 1.5, 640).view(10, 1, 8, 8)
    (found,) = run_graph(member_graph(network, (1, 8, 8), "toy"), image=images.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found, network(images).numpy(), rtol=1e-5, atol=1e-6)


def test_a_layer_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no rule to export Softplus to a member graph"):
        member_graph(nn.Sequential(nn.Flatten(), nn.Softplus()), (1, 2, 2), "odd")
