"""robustness/reporting/overhead.py: what is stored and computed is the manifest's, and only who is asked counts."""

import numpy as np
import pytest

from robustness.reporting.overhead import AT_EXPORT, OverheadReport, overhead
from runtime.ensemble import Ensemble
from runtime.errors import BundleError
from runtime.manifest import Int8Copy, LayerTime, Manifest, Measured, Precision, Vote
from tests.toys import FP32, W2A4, ToyMember, numbered, toy_entry, toy_manifest

W8A8 = Precision(weights=8, activations=8)
CAT, DOG = (1.0, 0.0), (0.0, 1.0)
COPY = Int8Copy(of="fp32", file_bytes=260, macs=10, bit_operations=640, us=7.5, rounds=3, over_fp32=0.5)
LAYER = LayerTime(member="low-a", layer="first", exported_us=2, others_us={"otherwise": 3})
MAJORITY = Vote(rule="majority", tie_breaker="fp32")


def manifest_of(second: Precision, measured: Measured | None = None) -> Manifest:
    """Two low-precision members and a full-precision one; costs that are easy to add."""
    entries = [
        toy_entry("low-a", W2A4, packed_bytes=100, macs=10, bit_operations=80),
        toy_entry("low-b", second, packed_bytes=300, macs=10, bit_operations=20),
        toy_entry("fp32", FP32, packed_bytes=1000, macs=10, bit_operations=1000),
    ]
    return toy_manifest(entries, "fp32", (1, 1, 1), ("cat", "dog")).model_copy(update={"measured": measured})


def report_of(manifest: Manifest, vote: Vote = MAJORITY) -> OverheadReport:
    """Of four images the low-precision members agree on the first three."""
    answers = {"low-a": [CAT] * 4, "low-b": [CAT, CAT, CAT, DOG], "fp32": [CAT] * 4}
    members = [
        ToyMember(entry.name, entry.precision, np.array(answers[entry.name], np.float32)) for entry in manifest.members
    ]
    ensemble = Ensemble(members, vote, 2)
    try:
        return overhead(manifest, ensemble, {"clean": numbered(4)}, rounds=2)
    finally:
        ensemble.close()


def test_each_way_stores_all_and_computes_with_whom_it_asks() -> None:
    report = report_of(manifest_of(W8A8))
    costs = {row.what: (row.stored_bytes, row.bit_operations) for row in report.cpu}
    assert costs == {
        "fp32 alone": (1000, 1000),
        "int8 alone": (300, 20),
        "full": (1400, 1100),
        "quorum": (1400, 350),  # 100, and 1000 more for one image of four
    }
    assert (report.stored_over_fp32, report.bit_operations_over_fp32) == (0.4, 0.1)
    assert report.int8 == "the member low-b"
    assert report.cpu[0].over_fp32 == 1
    assert all(row.images == "clean" and (row.n, row.rounds) == (4, 2) for row in report.cpu)


def test_a_copy_measured_at_export_stands_in_for_an_int8_member() -> None:
    measured = Measured(hardware="a machine", layers=(LAYER,), int8=COPY)
    report = report_of(manifest_of(W2A4, measured))
    assert [row.what for row in report.cpu] == ["fp32 alone", "full", "quorum", "int8 alone"]
    row = report.cpu[-1]
    assert (row.images, row.stored_bytes, row.bit_operations, row.median_us, row.over_fp32) == (
        *(AT_EXPORT, 260, 640),
        *(7.5, 0.5),
    )
    assert report.int8 == "fp32, quantized to 8 bits after training for this comparison alone"
    assert (report.layers, report.layers_hardware) == ([LAYER], "a machine")


def test_without_either_there_is_no_such_row() -> None:
    report = report_of(manifest_of(W2A4))
    assert report.int8 is None and "int8 alone" not in [row.what for row in report.cpu]
    assert (report.layers, report.layers_hardware) == ([], None)


def test_a_mean_has_no_quorum() -> None:
    report = report_of(manifest_of(W2A4), Vote(rule="average", tie_breaker="fp32"))
    assert [row.what for row in report.cpu] == ["fp32 alone", "full"]


def test_what_the_manifest_does_not_say_is_null() -> None:
    manifest = manifest_of(W2A4)
    unknown = [member.model_copy(update={"bit_operations": None, "packed_bytes": 0}) for member in manifest.members]
    report = report_of(manifest.model_copy(update={"members": tuple(unknown)}))
    assert (report.stored_over_fp32, report.bit_operations_over_fp32) == (None, None)
    assert {(row.stored_bytes, row.bit_operations) for row in report.cpu} == {(None, None)}


def test_without_full_precision_there_is_nothing_to_compare_with() -> None:
    manifest = manifest_of(W2A4)
    with pytest.raises(BundleError, match="toy: expected a full-precision member to compare with, got none"):
        report_of(manifest.model_copy(update={"members": manifest.members[:2]}), Vote(rule="average", tie_breaker=None))
