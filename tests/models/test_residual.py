"""models/residual.py: the sum of both ways, without what is below 0."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.residual import Residual


@given(values=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=5), shortcut=st.booleans())
def test_relu_of_branch_plus_shortcut(values: list[float], shortcut: bool) -> None:
    x = torch.tensor(values)
    branch, other = nn.Sequential(nn.Hardtanh(-1, 1)), nn.Sequential(nn.Threshold(2, -3))
    found = Residual(branch, other if shortcut else None)(x)
    by_hand = [
        max(0.0, min(max(each, -1.0), 1.0) + ((each if each > 2 else -3.0) if shortcut else each))
        for each in x.tolist()
    ]
    torch.testing.assert_close(found, torch.tensor(by_hand))
