"""The test images of a bundle's data set, by the name in its manifest."""

from pathlib import Path

import numpy as np
import pytest

from export.data import held_out as module
from export.data.examples import DataError, DataSet, Split
from export.data.held_out import held_out
from runtime.manifest import Input, Manifest
from tests.linear_victim import LINEAR_MANIFEST

IMAGES = np.arange(4 * 64, dtype=np.uint8).reshape(4, 1, 8, 8)


def manifest(data_set: str) -> Manifest:
    provenance = LINEAR_MANIFEST.provenance.model_copy(update={"data_set": data_set})
    return LINEAR_MANIFEST.model_copy(update={"provenance": provenance})


def data(labels: tuple[str, ...]) -> DataSet:
    split = Split(IMAGES, np.array([0, 1, 2, 0]))
    return DataSet("pets", labels, split, split, split, {"pets.bin": "0" * 32}, {"a.png": "empty"})


def test_the_test_split_is_given_as_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.LOADERS, "pets", lambda data_dir, spec, skip: data(LINEAR_MANIFEST.labels))
    source = held_out(manifest("pets"), Path("anywhere"))
    assert (source.name, source.sums) == ("pets", {"pets.bin": "0" * 32})
    assert source.classes.tolist() == [0, 1, 2, 0]
    np.testing.assert_array_equal(source.pixels(np.array([3, 0])), IMAGES[[3, 0]] / np.float32(255))


def test_other_labels_or_an_unknown_data_set_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.LOADERS, "pets", lambda data_dir, spec, skip: data(("cat", "dog", "fox")))
    with pytest.raises(DataError, match="its labels are"):
        held_out(manifest("pets"), None)
    with pytest.raises(DataError, match="trained on 'stars', expected one of MNIST, CIFAR-10, ImageNet, Imagenette"):
        held_out(manifest("stars"), None)


@pytest.mark.parametrize(
    ("skipped", "wanted"), [(0, False), (2, False), (0, True)], ids=["neither", "for training", "now"]
)
def test_what_was_left_out_for_training_or_is_to_be_is_left_out(
    skipped: int, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def load(data_dir: Path | None, spec: Input, skip: bool) -> DataSet:
        asked.append(skip)
        return data(LINEAR_MANIFEST.labels)

    monkeypatch.setitem(module.LOADERS, "pets", load)
    trained = manifest("pets")
    provenance = trained.provenance.model_copy(update={"skipped_images": skipped})
    source = held_out(trained.model_copy(update={"provenance": provenance}), None, wanted)
    assert asked == [skipped > 0 or wanted]
    assert source.unreadable == {"a.png": "empty"}
