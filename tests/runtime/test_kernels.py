"""The kernels that a member runs, by ONNX Runtime's own profile."""

from typing import Any

import pytest

from runtime.bundle import load_bundle
from runtime.kernels import Kernels, kernels_of, seconds_by_operator
from tests.toy_bundle import ToyBundle


def event(operator: str, name: str, microseconds: int, kind: str = "kernel_time") -> dict[str, Any]:
    return {"cat": "Node", "name": f"{name}_{kind}", "dur": microseconds, "args": {"op_name": operator}}


def test_members_run_the_kernels_of_their_precision(toy: ToyBundle) -> None:
    bundle = load_bundle(toy.folder)
    low, _, full = (kernels_of(bundle, entry, images=3) for entry in bundle.manifest.members)
    assert "QLinearConv" in low.seconds and 0 < low.integer_share < 1
    assert "QLinearConv" not in full.seconds and full.integer_share == 0
    assert low.slow == []


def test_an_interruption_does_not_count_and_nodes_of_an_operator_add_up() -> None:
    times = [*(event("Conv", "a", t) for t in (3, 4, 90_000)), *(event("Conv", "b", t) for t in (1, 1, 1))]
    others = [event("Conv", "a", 9, "fence_before"), {"cat": "Session", "name": "model_run", "dur": 9}]
    assert seconds_by_operator([*times, *others]) == {"Conv": pytest.approx(5e-6)}


def test_shares_and_names() -> None:
    kernels = Kernels({"Conv": 1.0, "QLinearConv": 2.0, "ConvInteger": 1.0})
    assert kernels.integer_share == 0.75
    assert kernels.longest(1) == ["QLinearConv"]
    assert kernels.slow == ["ConvInteger"]
    assert Kernels({}).integer_share == 0
