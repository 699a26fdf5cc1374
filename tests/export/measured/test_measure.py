"""export/measured: rows for the layers that could be written otherwise, and an int8 copy where there is no member."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from export.bundle import write_bundle
from export.data.examples import DataSet
from export.measured import __main__ as command
from export.measured.int8_copy import compared, int8_copy
from export.measured.layer_times import layer_times
from export.measured.measure import measured
from export.measured.shortest import shortest_us
from export.training import made_by
from export.training.recipe import Recipe
from export.training.train import Trained
from models.folding import freeze
from models.networks import small_cnn
from models.precision import Precision
from runtime.bundle import Bundle, load_bundle
from runtime.manifest import Manifest, Measured


@pytest.fixture(scope="module")
def without_8_bits(toy_recipe: Recipe) -> Recipe:
    return dataclasses.replace(toy_recipe, members=toy_recipe.members[:2])


@pytest.fixture(scope="module")
def bundle(
    without_8_bits: Recipe, toy_trained: list[Trained], toy_data: DataSet, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """fp32 and w2a4 on disk."""
    out = tmp_path_factory.mktemp("bundles") / "toy"
    write_bundle(without_8_bits, toy_trained[:2], toy_data, out, "empir train toy")
    return load_bundle(out, gradients=True)


def test_rows_are_the_layers_that_could_be_written_otherwise() -> None:
    torch.manual_seed(0)
    rows = layer_times(freeze(small_cnn(Precision(4, 4))), (1, 28, 28), "low", rounds=1)
    assert [(row.layer, list(row.others_us)) for row in rows] == [
        ("convolution 3x3/1 32 over 1 x 28 x 28", ["channels as they are"]),
        ("convolution 3x3/1 32 over 32 x 26 x 26, max pool", ["clipped, then pooled"]),
        ("convolution 3x3/1 64 over 64 x 10 x 10, max pool", ["clipped, then pooled"]),
        ("linear 1024 to 200", ["weights in few bits"]),
    ]
    assert all(row.member == "low" and row.exported_us > 0 and min(row.others_us.values()) > 0 for row in rows)


def test_floats_have_no_other_way(toy_trained: list[Trained]) -> None:
    assert layer_times(toy_trained[0].network, (1, 8, 8), "fp32", rounds=1) == []


def test_the_shortest_of_the_runs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in turn, three calls at a time; the clock says 9 and 30, then 3 and 60 thousand nanoseconds."""
    moments = iter(np.cumsum([0, 9000, 0, 30000, 0, 3000, 0, 60000]).tolist())
    monkeypatch.setattr("time.thread_time_ns", lambda: next(moments))
    calls: list[str] = []
    assert shortest_us({name: partial(calls.append, name) for name in "ab"}, rounds=2) == {"a": 1, "b": 10}
    assert "".join(calls) == "aaabbb" * 2


def test_a_copy_stands_in_where_no_member_has_8_bits(bundle: Bundle) -> None:
    copy = int8_copy(bundle, rounds=1)
    assert copy is not None
    assert (copy.of, copy.macs, copy.bit_operations, copy.rounds) == ("fp32", 1632, 1632 * 64, 1)
    assert copy.file_bytes > 0 and copy.us > 0 and copy.over_fp32 > 0


def test_none_stands_in_where_one_has_or_where_there_is_nothing_to_copy(bundle: Bundle) -> None:
    manifest = bundle.manifest
    full, low = manifest.members
    precision = low.precision.model_copy(update={"weights": 8, "activations": 8})
    for members in ((full, low.model_copy(update={"precision": precision})), (low,)):
        other = dataclasses.replace(bundle, manifest=manifest.model_copy(update={"members": members}))
        assert compared(other) is None and int8_copy(other) is None
    assert compared(bundle) == full


def test_export_notes_what_it_measured(bundle: Bundle, toy_trained: list[Trained]) -> None:
    noted = bundle.manifest.measured
    assert noted is not None and noted.int8 is not None and noted.hardware.endswith(" cores")
    assert {row.member for row in noted.layers} == {"w2a4"}
    again = measured([each.network for each in toy_trained[:2]], bundle)
    assert [row.layer for row in again.layers] == [row.layer for row in noted.layers]


def test_a_bundle_can_be_measured_again(
    bundle: Bundle, without_8_bits: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(made_by, "RECIPES", {"toy": without_8_bits})
    manifest = bundle.manifest.model_copy(update={"measured": None})
    path = bundle.folder / "bundle.json"
    path.write_text(manifest.model_dump_json())
    arguments = ["toy", "--bundles", str(bundle.folder.parent)]
    result = CliRunner().invoke(command.main, arguments)
    assert result.exit_code == 0, result.output
    written = Manifest.model_validate_json(path.read_text())
    assert written.measured == Measured.model_validate_json(result.output)
    assert written.model_copy(update={"measured": None}) == manifest

    monkeypatch.setattr(made_by, "RECIPES", {})
    refused = CliRunner().invoke(command.main, arguments)
    assert refused.exit_code == 1 and "made by the recipe 'toy', which does not exist here" in refused.output
