"""models/precision.py: the short form of bit widths, read and written."""

import pytest

from models.precision import Precision

ALL = [Precision(32, 32), *(Precision(w, a) for w in range(1, 9) for a in range(1, 9))]


@pytest.mark.parametrize("precision", ALL, ids=str)
def test_the_short_form_reads_back_as_the_precision(precision: Precision) -> None:
    assert Precision.parse(str(precision)) == precision
    assert precision.is_float == (str(precision) == "fp32")


@pytest.mark.parametrize("text", ["", "fp16", "FP32", "w2", "a4w2", "w2a4 ", "w0a4", "w2a9", "w10a2", "w32a32", "w٢a٤"])
def test_anything_else_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match="precision: expected fp32, or w1a1 to w8a8, got ") as refusal:
        Precision.parse(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize(("weights", "activations"), [(0, 4), (4, 9), (-1, 1), (32, 8), (8, 32), (16, 16)])
def test_bit_widths_out_of_range_are_refused_with_both_values(weights: int, activations: int) -> None:
    expected = f"expected 1 to 8 bits each, or 32 for both, got weights={weights}, activations={activations}"
    with pytest.raises(ValueError, match=expected):
        Precision(weights, activations)
