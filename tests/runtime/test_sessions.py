"""runtime/sessions.py: 8-bit sums are exact on every processor."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime import sessions
from runtime.sessions import has_vnni, open_session


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n", True),
        ("processor\t: 0\nmodel name\t: avx_vnni\nflags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd\n", False),
        ("", False),
    ],
    ids=["avx512_vnni", "avx_vnni", "neither", "arm", "unknown"],
)
def test_vnni_is_read_from_the_flags(cpuinfo: str, expected: bool) -> None:
    assert has_vnni(cpuinfo) == expected


@pytest.mark.parametrize("known", [True, False], ids=["this processor", "an unknown one"])
def test_the_largest_products_are_added_exactly(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """255 x 127 twice is more than int16 holds."""
    if not known:
        monkeypatch.setattr(sessions, "cpuinfo", lambda: "")
    stored: dict[str, NDArray[Any]] = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "weight": np.full((64, 16), 127, np.int8),
    }
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("QuantizeLinear", ["flat", "one", "zero"], ["levels"]),
        helper.make_node("MatMulInteger", ["levels", "weight"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "largest",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 16])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = open_session(model.SerializeToString(), "largest", {"image": [1, 8, 8]}, {"logits": [16]})
    found = session.run(None, {"image": np.full((2, 1, 8, 8), 255, np.float32)})[0]
    np.testing.assert_array_equal(found, np.full((2, 16), 64 * 255 * 127))
