"""export/data/decoded_once.py: decoded the first time, remembered the second, forgotten when a file changes."""

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from export.data import decoded_once
from export.data.decoded_once import DecodedOnce, decode_once
from export.data.decoding import Decoded, Decoder, decode_files
from export.data.examples import DataError
from export.data.image_files import list_classes
from tests.pictures import SPEC, write_classes, write_picture

COUNTS = {"cat": 4, "dog": 3}


class Counting(Decoder):
    """Counts what it decodes."""

    count = 0

    def decode(self, batches: Iterable[Sequence[str]]) -> Iterator[Decoded]:
        for decoded in super().decode(batches):
            self.count += len(decoded.images) + len(decoded.unreadable)
            yield decoded


class World:
    """A folder of pictures, its cache, and a decoder that counts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder / "pictures", folder / "cache"
        write_classes(self.folder, COUNTS)
        self.decoder = Counting(SPEC)

    def decode(self, title: str = "train", *, keep_images: bool = True, skip: bool = False) -> DecodedOnce:
        files = list_classes(self.folder, tuple(COUNTS))
        return decode_once(files, self.decoder, self.cache, title, keep_images=keep_images, skip_unreadable=skip)

    def spoil(self) -> Path:
        path = self.folder / "cat" / "002.png"
        path.write_bytes(b"spoilt")
        return path

    def kept(self) -> list[str]:
        return sorted(path.suffix for path in self.cache.iterdir())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(decoded_once, "BLOCK", 2)
    return World(tmp_path)


def test_images_are_decoded_once_and_mapped(world: World) -> None:
    for _ in range(2):
        once = world.decode()
        assert once.unreadable == {} and len(once.files) == 7
        assert isinstance(once.images, np.memmap)
        np.testing.assert_array_equal(once.images, decode_files(once.files.paths(np.arange(7)), SPEC).images)
    assert world.decoder.count == 7


def test_writing_to_the_images_does_not_change_what_is_kept(world: World) -> None:
    images, again = (world.decode().images for _ in range(2))
    assert images is not None and again is not None
    images[:] = 0
    assert again.any()
    np.testing.assert_array_equal(world.decode().images, again)


def test_a_file_that_changes_is_decoded_again_and_the_old_is_forgotten(world: World) -> None:
    before = world.decode().images
    write_picture(world.folder / "dog" / "000.png", seed=99)
    after = world.decode().images
    assert before is not None and after is not None
    changed = [index for index in range(7) if (before[index] != after[index]).any()]
    assert changed == [4] and world.decoder.count == 14
    assert world.kept() == [".json", ".lock", ".u8"]


def test_other_rules_and_other_titles_are_kept_beside(world: World) -> None:
    world.decode()
    world.decode("test")
    world.decoder.spec = SPEC.model_copy(update={"resize": "stretch"})
    world.decode()
    assert world.decoder.count == 21 and world.kept().count(".u8") == 3
    world.decode()
    assert world.decoder.count == 21


@pytest.mark.parametrize("lost", ["json", "u8"])
def test_what_a_killed_run_or_a_cleaner_left_is_no_obstacle(lost: str, world: World) -> None:
    expected = world.decode().images
    for path in world.cache.glob("*.u8"):
        path.rename(path.with_suffix(".old"))  # the images above are mapped from it
        path.write_bytes(b"half of it")
    for path in world.cache.glob(f"*.{lost}"):
        path.unlink()
    np.testing.assert_array_equal(world.decode().images, expected)
    assert world.decoder.count == 14


def test_knowing_what_is_unreadable_is_not_having_the_images(world: World) -> None:
    assert world.decode(keep_images=False).images is None
    assert world.decode().images is not None and world.decoder.count == 14


@pytest.mark.parametrize("keep_images", [True, False])
def test_an_unreadable_image_is_named(keep_images: bool, world: World) -> None:
    path = world.spoil()
    for _ in range(2):
        with pytest.raises(DataError, match=rf"^{path}: cannot be read \(image: expected PNG, .*spoilt"):
            world.decode(keep_images=keep_images)


@pytest.mark.parametrize("keep_images", [True, False])
def test_unreadable_images_are_skipped_and_remembered(keep_images: bool, world: World) -> None:
    path = world.spoil()
    for _ in range(2):
        once = world.decode(keep_images=keep_images, skip=True)
        assert list(once.unreadable) == ["cat/002.png"] and once.files.classes.tolist() == [0, 0, 0, 1, 1, 1]
        assert "cat/002.png" not in once.files.names
        if keep_images:
            np.testing.assert_array_equal(once.images, decode_files(once.files.paths(np.arange(6)), SPEC).images)
        else:
            assert once.images is None and world.kept() == [".json", ".lock"]
    assert world.decoder.count == 7
    with pytest.raises(DataError, match=f"^{path}: cannot be read"):
        world.decode(keep_images=keep_images)
    assert world.decoder.count == 7


def test_nothing_readable_is_refused(world: World) -> None:
    for path in world.folder.rglob("*.png"):
        path.write_bytes(b"spoilt")
    with pytest.raises(DataError, match=f"^{world.folder}: none of 7 images for train can be read$"):
        world.decode(skip=True)


def test_a_cache_that_is_no_folder_is_refused(world: World) -> None:
    world.cache.write_text("a file")
    with pytest.raises(DataError, match=f"^{world.cache}: expected a folder to keep decoded images in: File exists$"):
        world.decode()


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(terminal: bool, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    world.decode("pets train")
    assert ("pets train: 100%" in stderr.getvalue() and "7/7" in stderr.getvalue()) == terminal
    assert terminal or not stderr.getvalue()
