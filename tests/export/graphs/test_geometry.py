"""export/graphs/geometry.py against torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from export.graphs.geometry import window_of


@settings(max_examples=80)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    ceil=st.booleans(),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
)
def test_a_pool_has_as_many_places_as_in_torch(
    kernel: int, stride: int, padding: int, ceil: bool, size: tuple[int, int]
) -> None:
    pool = nn.MaxPool2d(kernel, stride, min(padding, kernel // 2), ceil_mode=ceil)
    assert window_of(pool).counts((1, *size)) == tuple(pool(torch.zeros(1, 1, *size)).shape[2:])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, stride=(1, 2)),
        nn.Conv2d(2, 2, 3, padding=(0, 1)),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.MaxPool2d(3, dilation=2),
        nn.AvgPool2d(3, ceil_mode=True),
        nn.AvgPool2d(3, padding=1),
    ],
    ids=str,
)
def test_what_the_rules_leave_out_is_refused(layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> None:
    with pytest.raises(TypeError, match="no rule to export"):
        window_of(layer)
