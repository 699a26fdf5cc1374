"""The catalog: every bundle of a folder, or a refusal that names what is wrong."""

import shutil
from pathlib import Path

import pytest

from runtime.errors import BundleError, UnknownBundle
from service.catalog import Catalog
from service.settings import Settings
from tests.toy_bundle import ToyBundle, flip_a_bit, neighbour
from tests.toy_catalog import bundle_catalog


def test_every_bundle_of_the_folder_is_served_and_found_by_name(toy_copy: Path) -> None:
    other = neighbour(toy_copy, "other")
    shutil.copytree(toy_copy, toy_copy.parent / ".toy.half-written")
    (toy_copy.parent / "notes").mkdir()
    catalog = bundle_catalog(toy_copy)
    assert sorted(served.manifest.name for served in catalog) == ["other", "toy"]
    assert catalog.get(None).manifest.name == catalog.get("toy").manifest.name == "toy"
    assert catalog.get("other").folder == other
    with pytest.raises(UnknownBundle, match="expected other or toy, got 'no'"):
        catalog.get("no")
    catalog.close()


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="none: expected a folder of bundles"):
        Catalog.load(Settings(bundles=tmp_path / "none"))
    with pytest.raises(BundleError, match=r"expected bundles, folders with a bundle\.json; there is none"):
        Catalog.load(Settings(bundles=tmp_path))


def test_a_default_that_is_not_there_is_refused(toy: ToyBundle) -> None:
    with pytest.raises(BundleError, match=r"default bundle: expected one that is served \(toy\), got 'mnist'"):
        Catalog.load(Settings(bundles=toy.folder.parent))


def test_one_flipped_bit_is_not_served(toy_copy: Path) -> None:
    graph = toy_copy / "fp32.onnx"
    neighbour(toy_copy, "other")
    flip_a_bit(graph)
    with pytest.raises(BundleError, match=r"toy/fp32\.onnx: corrupt or altered"):
        bundle_catalog(toy_copy)  # it is the default one
    catalog = bundle_catalog(toy_copy.parent / "other")
    assert [served.manifest.name for served in catalog] == ["other"]
    assert catalog.damaged.keys() == {"toy"}
    assert catalog.damaged["toy"].startswith(f"{graph}: corrupt or altered")
    catalog.close()


def test_the_settings_reach_the_ensemble(toy: ToyBundle) -> None:
    slow = Settings(bundles=toy.folder.parent, default="toy", member_deadline_ms=1e-6, concurrency="requests")
    catalog = Catalog.load(slow)
    prediction = catalog.get(None).ensemble.predict(toy.images[:1])
    assert prediction.status == [["deadline"]] * 3
    catalog.close()
