"""export/data/streamed.py: images on disk that answer like images in memory."""

from pathlib import Path

import numpy as np
import pytest

from export.data.decoding import Decoder, decode_files
from export.data.examples import DataError, Examples, Split
from export.data.image_files import list_classes
from export.data.streamed import StreamedSplit
from tests.pictures import SPEC, write_classes

COUNTS = {"cat": 4, "dog": 3}


@pytest.fixture
def streamed(tmp_path: Path) -> StreamedSplit:
    write_classes(tmp_path, COUNTS)
    return StreamedSplit(list_classes(tmp_path, tuple(COUNTS)), Decoder(SPEC))


def test_it_answers_like_images_in_memory(streamed: StreamedSplit) -> None:
    everything = decode_files(streamed.files.paths(np.arange(7)), SPEC).images
    memory: Examples = Split(everything, np.array([0, 0, 0, 0, 1, 1, 1]))
    disk: Examples = streamed

    assert len(disk) == len(memory) == 7 and disk.image_shape == memory.image_shape == (3, 8, 6)
    np.testing.assert_array_equal(disk.classes, memory.classes)
    indices = np.array([6, 0, 3, 0])
    np.testing.assert_array_equal(disk.batch(indices), memory.batch(indices))
    order = [np.array([1, 2]), np.array([], dtype=np.int64), np.array([5]), indices]
    for found, expected in zip(disk.batches(order), memory.batches(order), strict=True):
        np.testing.assert_array_equal(found, expected)
    for bounds in ((), (2,), (2, 4), (5, 100)):
        assert disk.pixels(*bounds).dtype == np.float32
        np.testing.assert_array_equal(disk.pixels(*bounds), memory.pixels(*bounds))


def test_an_unreadable_image_is_named_when_its_turn_comes(streamed: StreamedSplit, tmp_path: Path) -> None:
    path = tmp_path / "dog" / "001.png"
    path.write_bytes(path.read_bytes()[:60])
    batches = streamed.batches([np.array([0]), np.array([4, 5])])
    assert len(next(batches)) == 1
    with pytest.raises(
        DataError, match=rf"^{path}: cannot be read \(image: the PNG is damaged .*\); mend or delete it"
    ):
        next(batches)
    with pytest.raises(DataError, match=f"^{path}: "):
        streamed.pixels()
