"""models/folding.py: without batch norms the same function, and nothing of the given network changes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.folding import fold_batch_norm
from models.residual import Residual


def block(channels: int, bias: bool) -> Residual:
    return Residual(
        nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, 2, padding=1, bias=bias), nn.BatchNorm2d(2 * channels),
        ),
        nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, 2, bias=bias), nn.BatchNorm2d(2 * channels)),
    )  # fmt: skip


@settings(max_examples=20)
@given(channels=st.integers(1, 3), groups=st.booleans(), bias=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_folded_network_computes_the_same(channels: int, groups: bool, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    wide = 4 * channels
    network = nn.Sequential(
        nn.Conv2d(channels, wide, 3, 2, padding=1, groups=channels if groups else 1, bias=bias), nn.BatchNorm2d(wide),
        nn.ReLU(), block(wide, bias), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * wide, 5, bias=bias), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2, bias=bias),
    ).double()  # fmt: skip
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    images = torch.randn(6, channels, 9, 8, dtype=torch.float64)
    network(2 * images + 1)
    before = copy.deepcopy(network.eval().state_dict())

    folded = fold_batch_norm(network)

    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():  # folded weights are float32
        torch.testing.assert_close(folded.double()(images), network(images), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("layers", "before"),
    [([nn.BatchNorm2d(3)], "None"), ([nn.Conv2d(1, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)], r"ReLU\(\)")],
    ids=["first", "behind a ReLU"],
)
def test_a_batch_norm_behind_anything_else_is_refused(layers: list[nn.Module], before: str) -> None:
    message = rf"^expected a convolution or linear layer before BatchNorm2d\(3.*, got {before}$"
    with pytest.raises(TypeError, match=message):
        fold_batch_norm(nn.Sequential(*layers))
