"""models/batch_norm.py: gain and offset are torch's batch norm in eval mode."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.batch_norm import affine


@given(channels=st.integers(1, 6), flat=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_gain_and_offset_do_what_torch_does(channels: int, flat: bool, seed: int) -> None:
    torch.manual_seed(seed)
    norm = nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(5, channels) if flat else torch.randn(5, channels, 3, 2)
    norm(3 * x + 1)  # the running statistics see something
    norm = norm.double().eval()

    gain, offset = affine(norm)

    assert gain.dtype == offset.dtype == torch.float64
    columns = (1, -1, *[1] * (x.dim() - 2))
    torch.testing.assert_close(gain.view(columns) * x + offset.view(columns), norm(x.double()))


def test_without_running_statistics_there_is_nothing_to_fold() -> None:
    with pytest.raises(ValueError, match="expected a batch norm with running statistics, got BatchNorm2d"):
        affine(nn.BatchNorm2d(3, track_running_stats=False))
