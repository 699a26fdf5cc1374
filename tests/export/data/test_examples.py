"""export/data/examples.py: images in memory, and what is held out of them."""

import numpy as np
import pytest

from export.data.examples import VALIDATION_IMAGES, DataSet, Examples, Split, hold_out, left_out


def numbered(count: int) -> Split:
    """Images of 2 x 2 x 3 that differ, and classes that are their numbers."""
    images = np.random.default_rng(0).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
    return Split(images, np.arange(count))


def test_the_split_is_the_same_every_time_and_that_of_the_real_mnist_is_known() -> None:
    everything = Split(np.zeros((60_000, 1, 1, 1), np.uint8), np.arange(60_000))
    train, validation = hold_out(everything, VALIDATION_IMAGES)
    again = hold_out(everything, VALIDATION_IMAGES)

    assert (len(train), len(validation)) == (55_000, 5_000)
    assert not set(train.classes) & set(validation.classes)
    np.testing.assert_array_equal(again[1].classes, validation.classes)
    assert validation.classes[:8].tolist() == [9, 24, 49, 60, 65, 66, 72, 73]  # whatever NumPy's version


def test_images_go_with_their_classes_when_some_are_held_out() -> None:
    everything = numbered(20)
    for part in hold_out(everything, 6):
        np.testing.assert_array_equal(part.images, everything.images[part.classes])


def test_pixels_are_float32_of_0_to_1() -> None:
    split = Split(np.arange(256, dtype=np.uint8).reshape(64, 1, 2, 2), np.zeros(64, np.int64))
    pixels = split.pixels()
    assert pixels.dtype == np.float32 and (pixels.min(), pixels.max()) == (0, 1)
    np.testing.assert_array_equal(np.rint(pixels * 255), split.images)
    np.testing.assert_array_equal(split.pixels(3, 5), pixels[3:5])


def test_batches_are_copies_of_the_images_asked_for() -> None:
    split: Examples = numbered(9)
    order = [np.array([8, 0, 8]), np.array([3])]
    batches = list(split.batches(order))
    for indices, batch in zip(order, batches, strict=True):
        assert batch.dtype == np.uint8 and type(batch) is np.ndarray
        np.testing.assert_array_equal(batch, numbered(9).images[indices])
        np.testing.assert_array_equal(split.batch(indices), batch)
        batch[:] = 0
    np.testing.assert_array_equal(split.batch(np.arange(9)), numbered(9).images)


def test_a_data_set_has_the_shape_of_its_images_and_nothing_skipped() -> None:
    data = DataSet("numbered", ("a", "b"), numbered(3), numbered(2), numbered(1), {})
    assert data.image_shape == (2, 2, 3) and data.skipped == 0


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("a", "1 unreadable image is left out: a (cut)"),
        ("abc", "3 unreadable images are left out: a (cut), b (cut), c (cut)"),
        ("abcde", "5 unreadable images are left out: a (cut), b (cut), c (cut) and 2 more"),
    ],
    ids=["one", "three", "five"],
)
def test_images_that_are_left_out_are_counted_and_the_first_named(names: str, said: str) -> None:
    split, unreadable = numbered(2), dict.fromkeys(names, "cut")
    data = DataSet("numbers", ("0", "1"), split, split, split, {}, unreadable)
    assert (left_out(unreadable), data.skipped) == (said, len(names))
