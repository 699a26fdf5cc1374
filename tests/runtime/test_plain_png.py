"""Plain PNGs: the levels are Pillow's, and whatever is not plain, or damaged, is left to it."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from runtime.plain_png import plain_levels

Levels = NDArray[np.uint8]
SIDE = 6
pictures = st.sampled_from([(SIDE, SIDE), (SIDE, SIDE, 3)]).flatmap(lambda shape: arrays(np.uint8, shape))


def png(levels: NDArray[Any], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def written(rows: bytes, parts: int = 1) -> bytes:
    """A grey PNG of these rows, each behind its filter, in several IDAT chunks."""
    header, packed = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0), zlib.compress(rows)
    size = -(-len(packed) // parts)
    pieces = b"".join(chunk(b"IDAT", packed[at : at + size]) for at in range(0, len(packed), size))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pieces + chunk(b"IEND", b"")


def read_by_pillow(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).tobytes()


def channels_of(levels: Levels) -> int:
    return 1 if levels.ndim == 2 else levels.shape[2]


@given(pictures)
def test_what_was_saved_comes_back(levels: Levels) -> None:
    assert plain_levels(png(levels), channels_of(levels), SIDE, SIDE) == levels.tobytes()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.binary(min_size=SIDE, max_size=SIDE)), min_size=SIDE, max_size=SIDE),
    st.integers(1, 4),
)
def test_every_filter_and_any_number_of_chunks_are_read_as_pillow_reads_them(
    rows: list[tuple[int, bytes]], parts: int
) -> None:
    data = written(b"".join(bytes([kind]) + row for kind, row in rows), parts)
    assert plain_levels(data, 1, SIDE, SIDE) == read_by_pillow(data)


@given(pictures, st.data())
def test_one_wrong_byte_is_never_read_as_a_picture(levels: Levels, data: st.DataObject) -> None:
    whole = png(levels)
    place = data.draw(st.integers(0, len(whole) - 1))
    wrong = bytearray(whole)
    wrong[place] ^= data.draw(st.integers(1, 255))
    assert plain_levels(bytes(wrong), channels_of(levels), SIDE, SIDE) is None


@given(pictures, st.data())
def test_what_is_cut_off_is_never_read_as_a_picture(levels: Levels, data: st.DataObject) -> None:
    whole = png(levels)
    assert plain_levels(whole[: data.draw(st.integers(0, len(whole) - 1))], channels_of(levels), SIDE, SIDE) is None


def test_pixels_that_do_not_unpack_make_no_picture() -> None:
    packed = written(bytes(SIDE * (SIDE + 1)))
    assert plain_levels(packed, 1, SIDE, SIDE) == bytes(SIDE * SIDE)
    kind = packed.index(b"IDAT")
    (length,) = struct.unpack_from(">I", packed, kind - 4)
    for body in (b"", b"no deflate", packed[kind + 4 : kind + length - 4]):
        data = packed[: kind - 4] + chunk(b"IDAT", body) + chunk(b"IEND", b"")
        assert plain_levels(data, 1, SIDE, SIDE) is None, body


GREY = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
TEXT = PngInfo()
TEXT.add_text("Comment", "not plain")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        png(GREY, transparency=3),
        png(GREY, pnginfo=TEXT),
        png(GREY[:5]),
        png(GREY > 9),
        png(GREY.astype(np.uint16)),
        png(np.stack([GREY] * 3, axis=2)),
        png(np.stack([GREY] * 2, axis=2)),
    ],
    ids=["nothing", "transparent", "with a text", "of another size", "1 bit", "16 bits", "in colour", "with alpha"],
)
def test_what_is_not_plain_is_left_to_pillow(data: bytes) -> None:
    assert plain_levels(png(GREY), 1, SIDE, SIDE) == GREY.tobytes()
    assert plain_levels(data, 1, SIDE, SIDE) is None
    assert plain_levels(data, 4, SIDE, SIDE) is None
