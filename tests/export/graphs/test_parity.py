"""export/graphs/parity.py: the gate lets graphs of the network pass, and nothing else."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.data.examples import DataSet, Split
from export.graphs.parity import Parity, ParityError, all_parities, check_parity
from runtime.manifest import Precision
from runtime.member import Answer

Array = NDArray[np.float32]
Alter = Callable[[Array], Array]


def unaltered(values: Array) -> Array:
    return values


class TorchGraphs:
    """A member's two graphs played by torch, with what they return altered."""

    name, precision, temperature = "toy", Precision(weights=2, activations=4), 1.0

    def __init__(
        self,
        network: nn.Sequential,
        *,
        logits: Alter = unaltered,
        gradient_logits: Alter = unaltered,
        gradient: Alter = unaltered,
    ) -> None:
        self._network, self._logits = network, logits
        self._gradient_logits, self._gradient = gradient_logits, gradient

    def answer(self, images: Array, options: ort.RunOptions | None = None) -> Answer:
        with torch.no_grad():
            return Answer(self._logits(self._network(torch.from_numpy(images)).numpy()), 0.0)

    def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
        tensor = torch.from_numpy(images).requires_grad_()
        logits = self._network(tensor)
        (gradient,) = torch.autograd.grad(logits, tensor, torch.from_numpy(cotangents))
        return self._gradient_logits(logits.detach().numpy()), self._gradient(gradient.numpy())


def with_one(values: Array, index: tuple[int, ...], value: float) -> Array:
    """A copy with one number replaced."""
    copy = values.copy()
    copy[index] = value
    return copy


def nan_for_the_winner(logits: Array) -> Array:
    """NaN where the largest logit was: NumPy's argmax finds the first NaN, so every class stays what it was."""
    return np.where(logits == logits.max(axis=1, keepdims=True), np.float32(np.nan), logits)


def swap_first_two(logits: Array) -> Array:
    return logits[:, [1, 0, 2, 3]]


ALTERATIONS = [
    pytest.param({"logits": swap_first_two}, "the member graph gives another class than torch to image", id="classes"),
    pytest.param({"logits": lambda x: x * 1.001}, "the member graph differs from torch by", id="logits"),
    pytest.param({"logits": nan_for_the_winner}, "the member graph gives not finite logits to image 0", id="nan"),
    pytest.param(
        {"logits": lambda x: with_one(x, (3, 2), -np.inf)}, "gives not finite logits to image 3", id="infinity"
    ),
    pytest.param(
        {"gradient_logits": swap_first_two},
        "the gradient graph gives another class than torch to image",
        id="gradient graph: classes",
    ),
    pytest.param(
        {"gradient_logits": lambda x: x * 1.001},
        "the gradient graph differs from torch by",
        id="gradient graph: logits",
    ),
    pytest.param(
        {"gradient_logits": nan_for_the_winner}, "the gradient graph gives not finite", id="gradient graph: nan"
    ),
    pytest.param({"gradient": lambda x: x * 0}, "the gradient graph differs from torch by 1 of the norm", id="zeroed"),
    pytest.param({"gradient": lambda x: -x}, "the gradient graph differs from torch by 2 of the norm", id="negated"),
    pytest.param({"gradient": lambda x: x * 1.001}, "the gradient graph differs from torch by 0.001", id="scaled"),
    pytest.param(
        {"gradient": lambda x: with_one(x, (5, 0, 1, 1), np.nan)}, "by nan of the norm on image 5", id="gradient: nan"
    ),
    pytest.param({"gradient": lambda x: x.swapaxes(2, 3)}, "the gradient graph differs from torch by", id="transposed"),
]


def test_graphs_of_the_network_pass(frozen_toy: Callable[[str], nn.Sequential], toy_data: DataSet) -> None:
    network = frozen_toy("w2a4")
    graphs = TorchGraphs(network)
    assert all_parities([network], [graphs], [graphs], toy_data.test) == [
        Parity("toy", images=90, logits_error=0.0, gradient_images=90, gradient_error=0.0, kinks=0)
    ]
    assert check_parity(network, graphs, graphs, toy_data.test, gradient_images=7).gradient_images == 7


@pytest.mark.parametrize(("alterations", "message"), ALTERATIONS)
@pytest.mark.parametrize("precision", ["w2a4", "fp32"])
def test_graphs_that_answer_otherwise_do_not(
    precision: str,
    alterations: dict[str, Alter],
    message: str,
    frozen_toy: Callable[[str], nn.Sequential],
    toy_data: DataSet,
) -> None:
    network = frozen_toy(precision)
    graphs = TorchGraphs(network, **alterations)
    with pytest.raises(ParityError, match=f"member toy: .*{message}"):
        check_parity(network, graphs, graphs, toy_data.test)


@pytest.mark.parametrize("output", ["logits", "gradient_logits", "gradient"])
def test_the_image_named_is_the_data_sets_not_the_batchs(
    output: str, frozen_toy: Callable[[str], nn.Sequential], toy_data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.graphs.parity.BATCH", 40)
    network, batches = frozen_toy("w2a4"), iter(range(3))

    def spoil_the_third(values: Array) -> Array:
        return with_one(values, (4, *[0] * (values.ndim - 1)), np.nan) if next(batches) == 2 else values

    alterations: dict[str, Alter] = {output: spoil_the_third}
    graphs = TorchGraphs(network, **alterations)
    with pytest.raises(ParityError, match="image 84"):
        check_parity(network, graphs, graphs, toy_data.test)


def test_a_member_that_fails_is_named_with_its_reason(
    frozen_toy: Callable[[str], nn.Sequential], toy_data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = frozen_toy("w2a4")
    graphs = TorchGraphs(network)
    monkeypatch.setattr(graphs, "answer", lambda images: Answer(None, 0.0, "error", "out of memory"))
    with pytest.raises(ParityError, match="member toy: failed on images from 0: out of memory"):
        check_parity(network, graphs, graphs, toy_data.test)


def test_an_image_on_a_kink_is_compared_a_little_aside(
    frozen_toy: Callable[[str], nn.Sequential], toy_data: DataSet
) -> None:
    """The graph takes the other side of a kink on one image of the whole batch: alone, and moved, they agree."""
    network = frozen_toy("fp32")
    graphs = TorchGraphs(network, gradient=lambda x: with_one(x, (3, 0, 1, 1), 1.0) if len(x) > 1 else x)
    assert check_parity(network, graphs, graphs, toy_data.test).gradient_error == 0


@pytest.mark.parametrize(("reach", "agree"), [(1e-4, True), (2e-3, True), (0.1, False)])
def test_a_kink_ends_somewhere(
    reach: float, agree: bool, frozen_toy: Callable[[str], nn.Sequential], toy_data: DataSet
) -> None:
    """An even background is nearly a tie in a max pool as far as pixels move little."""
    network, image = frozen_toy("fp32"), toy_data.test.pixels(3, 4)
    graphs = TorchGraphs(network)

    class OnAKink(TorchGraphs):
        def gradient(self, images: Array, cotangents: Array) -> tuple[Array, Array]:
            logits, gradients = super().gradient(images, cotangents)
            near = np.abs(images - image).max(axis=(1, 2, 3)) < reach
            return logits, np.where(near[:, None, None, None], -gradients, gradients)

    kinked = OnAKink(network)
    if agree:
        assert check_parity(network, graphs, kinked, toy_data.test).kinks == 1
    else:
        with pytest.raises(ParityError, match="by 2 of the norm on image 3"):
            check_parity(network, graphs, kinked, toy_data.test)


@pytest.mark.parametrize(
    ("kinked", "count", "passes"), [(3, 20, True), (4, 20, False), (4, 90, True), (5, 90, False)], ids=str
)
def test_few_images_are_on_a_kink(
    kinked: int, count: int, passes: bool, frozen_toy: Callable[[str], nn.Sequential], toy_data: DataSet
) -> None:
    """The graph takes the other side of a kink on the first images of the batch: alone, and moved, they agree."""
    network = frozen_toy("fp32")

    def other_side(gradient: Array) -> Array:
        return np.concatenate([-gradient[:kinked], gradient[kinked:]]) if len(gradient) > 1 else gradient

    graphs = TorchGraphs(network, gradient=other_side)
    if passes:
        assert check_parity(network, graphs, graphs, toy_data.test, gradient_images=count).kinks == kinked
    else:
        with pytest.raises(ParityError, match=f"member toy: .* only aside of {kinked} of {count} images, more than 5%"):
            check_parity(network, graphs, graphs, toy_data.test, gradient_images=count)


def test_a_dead_network_has_no_relative_error(frozen_toy: Callable[[str], nn.Sequential]) -> None:
    """Every logit is 0: a network that learnt nothing is not a graph that disagrees."""
    network = frozen_toy("fp32")
    black = Split(np.zeros((3, 1, 8, 8), np.uint8), np.zeros(3, np.int64))
    graphs = TorchGraphs(network)
    assert check_parity(network, graphs, graphs, black).logits_error == 0
    with pytest.raises(ParityError, match="differs from torch"):
        check_parity(network, TorchGraphs(network, logits=lambda x: x + 1e-9), graphs, black)
