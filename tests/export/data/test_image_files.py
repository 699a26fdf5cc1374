"""export/data/image_files.py: which files are listed, what is held out, and the sums that tell listings apart."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.data.examples import DataError
from export.data.image_files import ImageFiles, class_folders, list_classes, list_images, listing_sha256


def touch(folder: Path, *names: str) -> None:
    """Files that hold their own names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def without_files(counts: list[int]) -> ImageFiles:
    """A listing with so many files of each class; there are no such files."""
    classes = np.repeat(np.arange(len(counts)), counts)
    names = tuple(f"{index:04}.png" for index in range(len(classes)))
    return ImageFiles(Path("nowhere"), names, classes, classes * 3, classes * 5)


def test_images_are_listed_by_class_and_name_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPEG", "b/10.png", "b/more/1.webp", "a/x.gif", "c/not-asked-for.png")
    touch(tmp_path, "a/notes.txt", "a/.hidden.png", "a/.cache/1.png", "README.png")
    files = list_classes(tmp_path, ("a", "b"))

    assert files.names == ("a/x.gif", "b/10.png", "b/2.JPEG", "b/more/1.webp")
    assert files.classes.tolist() == [0, 1, 1, 1] and files.classes.dtype == np.int64
    assert files.sizes.tolist() == [len(name) for name in files.names]
    assert files.paths(np.array([3, 0])) == [str(tmp_path / "b/more/1.webp"), str(tmp_path / "a/x.gif")]
    assert list_classes(tmp_path.parent, ("a",), below=tmp_path.name).names == (f"{tmp_path.name}/a/x.gif",)


def test_images_without_classes_are_listed_too(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "folder/a.jpg", "a.txt")
    files = list_images(tmp_path)
    assert files.names == ("b.png", "folder/a.jpg") and files.classes.tolist() == [0, 0]


def test_class_folders_are_sorted_and_not_hidden(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.png", "a/1.png", ".git/1.png", "c.png")
    assert class_folders(tmp_path) == ("a", "b")


def test_a_folder_without_images_is_named_with_what_it_has(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/notes.txt")
    with pytest.raises(
        DataError,
        match=rf"^{tmp_path}/b: expected images of this class \(\.png, .*\), got 1 other file, such as notes.txt$",
    ):
        list_classes(tmp_path, ("a", "b"))
    with pytest.raises(
        DataError, match=rf"^{tmp_path}/b: expected images \(\.png, .*\) in it or in its folders, got none$"
    ):
        list_images(tmp_path / "b")


def test_a_file_that_cannot_be_asked_for_its_size_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=rf"^{tmp_path}/a.png: listed, but cannot be read: No such file"):
        list_images(tmp_path)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=8).filter(lambda counts: max(counts) >= 3), st.integers(1, 50))
def test_a_tenth_of_each_class_is_held_out_and_no_more_than_asked_for(counts: list[int], most: int) -> None:
    files = without_files(counts)
    kept, held = files.hold_out(most)

    assert sorted(kept.names + held.names) == list(files.names)
    for part in (kept, held):
        positions = [int(name[:4]) for name in part.names]
        assert positions == sorted(positions)
        for before, after in ((files.classes, part.classes), (files.sizes, part.sizes)):
            np.testing.assert_array_equal(after, before[positions])
        np.testing.assert_array_equal(part.modified_ns, files.modified_ns[positions])
    most_of_a_class = max(1, most // len(counts))
    assert np.bincount(held.classes, minlength=len(counts)).tolist() == [
        min((n + 7) // 10, most_of_a_class) for n in counts
    ]
    assert files.hold_out(most)[1].names == held.names
    assert (np.bincount(kept.classes, minlength=len(counts)) > 0).all()


def test_what_is_held_out_is_known() -> None:
    assert without_files([20, 30]).hold_out(100)[1].names == (
        "0004.png",
        "0019.png",
        "0022.png",
        "0024.png",
        "0038.png",
    )


def test_too_few_images_to_hold_any_out_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"^nowhere: expected a class of three or more images, .*; the largest has 2 left$"
    ):
        without_files([2, 1]).hold_out(100)


def test_the_listing_sum_is_that_of_the_documented_lines(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "b/10.png", "a/1.png")
    files = list_classes(tmp_path, ("b", "a"))
    expected = hashlib.sha256(b"a/1.png\t7\nb/10.png\t8\nb/2.png\t7\n").hexdigest()
    assert listing_sha256(files) == expected
    assert listing_sha256(*(files.select(np.array(part)) for part in ([0, 2], [1]))) == expected


def test_a_copy_has_the_same_listing_and_another_fingerprint(tmp_path: Path) -> None:
    touch(tmp_path / "one", "a/1.png", "b/1.png")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (list_classes(tmp_path / name, ("a", "b")) for name in ("one", "two"))
    assert listing_sha256(one) == listing_sha256(two)
    assert one.fingerprint() != two.fingerprint()
    assert one.fingerprint() == list_classes(tmp_path / "two" / ".." / "one", ("a", "b")).fingerprint()


def test_the_fingerprint_tells_a_file_that_changed_but_not_in_size(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    before = list_classes(tmp_path, ("a", "b"))
    os.utime(tmp_path / "b/1.png", ns=(0, before.modified_ns[1] + 1))
    after = list_classes(tmp_path, ("a", "b"))
    assert after.fingerprint() != before.fingerprint() and listing_sha256(after) == listing_sha256(before)
