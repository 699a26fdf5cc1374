"""A toy data set, recipe, networks and ensemble, of a few hundred weights each, for the tests of export."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from export.data.examples import DataSet, Split
from export.training.recipe import MemberRecipe, Recipe, Training
from export.training.train import Trained, train_member
from models.dorefa import QuantConv2d
from models.folding import freeze
from models.integer import QuantizeInput
from models.precision import Precision
from runtime.manifest import Input, Vote
from runtime.sessions import open_session

LABELS = ("north-west", "north-east", "south-west", "south-east")


def quadrants(count: int, seed: int) -> Split:
    """Noise, and one quadrant brighter than the others: the class."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 120, (count, 1, 8, 8), dtype=np.uint8)
    classes = generator.integers(0, len(LABELS), count)
    for image, label in zip(images[:, 0], classes, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 130
    return Split(images, classes)


def toy_conv(precision: Precision) -> nn.Sequential:
    """Image [N, 1, 8, 8] to logits [N, 4]; 384 weights, 1,632 MACs: the kinds of layers of mnist_conv."""
    head = [nn.ReLU(), nn.Flatten(), nn.Linear(8, 4, bias=False)]
    if precision.is_float:
        return nn.Sequential(
            nn.Conv2d(1, 4, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(4, 6, 2, stride=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(6, 8, 2, bias=False),
            *head,
        )
    w, a = precision.weights, precision.activations
    return nn.Sequential(
        QuantizeInput(a),
        QuantConv2d(1, 4, 4, stride=2, padding=1, weight_bits=w, in_bits=a, out_bits=a),
        QuantConv2d(4, 6, 2, stride=2, weight_bits=w, in_bits=a, out_bits=a),
        QuantConv2d(6, 8, 2, weight_bits=w, in_bits=a, out_bits=None),
        *head,
    )


@pytest.fixture(scope="session")
def toy_data() -> DataSet:
    """300 training, 60 validation and 90 test images of 1 x 8 x 8 in 4 classes."""
    return DataSet("quadrants", LABELS, quadrants(300, 0), quadrants(60, 1), quadrants(90, 2), {"quadrants": "0" * 32})


@pytest.fixture(scope="session")
def toy_recipe(toy_data: DataSet) -> Recipe:
    return Recipe(
        name="toy",
        description="An ensemble for tests.",
        data=lambda data_dir: toy_data,
        network=toy_conv,
        input=Input(channels=1, height=8, width=8, resize="stretch"),
        vote=Vote(rule="majority", tie_breaker="fp32"),
        members=(
            MemberRecipe("fp32", "fp32", seed=0),
            MemberRecipe("w2a4", "w2a4", seed=1),
            MemberRecipe("w8a8", "w8a8", seed=2),
        ),
        training=Training(epochs=3, batch_size=20, learning_rate=0.01),
        cost="nothing",
        expected="nothing",
    )


@pytest.fixture(scope="session")
def toy_trained(toy_recipe: Recipe, toy_data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    """The recipe's members, trained."""
    folder = tmp_path_factory.mktemp("toy.training")
    return [
        train_member(toy_recipe, member, toy_data, folder / f"{member.name}.pt", lambda progress: None)
        for member in toy_recipe.members
    ]


@pytest.fixture(scope="session")
def frozen_toy() -> Callable[[str], nn.Sequential]:
    """From a precision's short form to a frozen network with random weights, image [N, 1, 8, 8] to logits [N, 4]."""

    def build(precision: str) -> nn.Sequential:
        torch.manual_seed(0)
        return freeze(toy_conv(Precision.parse(precision)))

    return build


@pytest.fixture(scope="session")
def run_graph() -> Callable[..., list[NDArray[np.float32]]]:
    """From a graph and its inputs, float32 [N, ...] by name, to its outputs, as the runtime runs it."""

    def run(model: onnx.ModelProto, **inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        shapes = (
            {v.name: [axis.dim_value for axis in v.type.tensor_type.shape.dim[1:]] for v in values}
            for values in (model.graph.input, model.graph.output)
        )
        return list(open_session(model.SerializeToString(), model.graph.name, *shapes).run(None, inputs))

    return run


@st.composite
def _networks(draw: st.DrawFn) -> tuple[nn.Sequential, torch.Tensor]:
    precision = draw(st.just(Precision(32, 32)) | st.builds(Precision, st.integers(1, 8), st.integers(1, 8)))
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(3, 9)), draw(st.integers(3, 9))
    images = torch.randint(0, 256, (draw(st.integers(1, 5)), channels, height, width)).float() / 255
    layers: list[nn.Module] = [] if precision.is_float else [QuantizeInput(precision.activations)]
    convolutions = draw(st.integers(1, 3))
    for index in range(convolutions):
        covers = height == width and draw(st.booleans())
        kernel = height if covers else draw(st.integers(1, min(3, height, width)))
        filters, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        padding = 0 if covers else draw(st.integers(0, 1))
        layers += _convolution(precision, channels, filters, kernel, stride, padding, last=index == convolutions - 1)
        channels, height, width = filters, *((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    layers += [nn.ReLU(), nn.Flatten(), nn.Linear(channels * height * width, draw(st.integers(2, 5)), bias=False)]
    return freeze(nn.Sequential(*layers)), images


def _convolution(
    precision: Precision, channels: int, filters: int, kernel: int, stride: int, padding: int, *, last: bool
) -> list[nn.Module]:
    """A convolution with what follows it, up to the next one; after the last one the values are float."""
    if precision.is_float:
        conv = nn.Conv2d(channels, filters, kernel, stride=stride, padding=padding, bias=False)
        return [conv] if last else [conv, nn.ReLU()]
    w, a = precision.weights, precision.activations
    out_bits = None if last else a
    return [
        QuantConv2d(
            channels, filters, kernel, stride=stride, padding=padding, weight_bits=w, in_bits=a, out_bits=out_bits
        )
    ]


@pytest.fixture(scope="session")
def networks() -> st.SearchStrategy[tuple[nn.Sequential, torch.Tensor]]:
    """Frozen networks of any precision and geometry, each with images float32 [N, C, H, W] in [0, 1] for it."""
    return _networks()
