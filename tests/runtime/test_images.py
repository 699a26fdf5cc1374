"""Pictures in: every format and mode, drawn digits, and bytes that are no picture."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from runtime.errors import EmpirError, ImageError, ImageTooLarge, InvalidValue
from runtime.images import decode_image, decode_pixels, encode_png, plain_image
from runtime.manifest import Input

Levels = NDArray[np.uint8]

GREY = Input(channels=1, height=28, width=28, resize="stretch")
COLOUR = Input(channels=3, height=28, width=28, resize="stretch")
MNIST = Input(channels=1, height=28, width=28, resize="digit", invert="bright_border")


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(*shape: int, seed: int = 0) -> Levels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(*shape: int) -> Levels:
    """Gentle slopes, which a lossy format keeps within a few levels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = [4 * rows + 2 * columns, 8 * columns, 6 * rows]
    return np.stack(planes[: shape[2]], axis=2).clip(0, 255).astype(np.uint8)


def test_a_grey_png_of_the_right_size_is_its_levels_over_255() -> None:
    levels = noise(28, 28)
    expected = (levels.astype(np.float32) / np.float32(255))[None, None]
    decoded = decode_image(encoded(Image.fromarray(levels)), GREY)
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.float32 and decoded.flags.c_contiguous


@pytest.mark.parametrize("channels", [1, 3])
def test_an_encoded_png_decodes_to_its_rounded_levels(channels: int) -> None:
    pixels = np.random.default_rng(0).uniform(-0.2, 1.2, (channels, 28, 28)).astype(np.float32)
    spec = COLOUR if channels == 3 else GREY
    expected = np.rint(pixels.clip(0, 1) * 255).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(decode_image(encode_png(pixels), spec)[0], expected)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("JPEG", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "progressive": True}, 12),
    ],
)
@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=["grey", "colour"])
def test_formats(spec: Input, kind: str, options: dict[str, Any], tolerance: int) -> None:
    levels = smooth(28, 28, 3)
    wanted = levels.transpose(2, 0, 1)
    if spec.channels == 1:
        wanted = np.asarray(Image.fromarray(levels).convert("L"))[None]
    decoded = decode_image(encoded(Image.fromarray(levels), kind, **options), spec)[0] * 255
    np.testing.assert_allclose(decoded, wanted, atol=tolerance + 1e-4)


def test_a_picture_may_keep_its_own_size() -> None:
    levels = noise(9, 7, 3)
    pixels = decode_pixels(encoded(Image.fromarray(levels)), channels=3)
    np.testing.assert_array_equal(pixels, levels.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    with pytest.raises(ImageTooLarge):
        decode_pixels(encoded(Image.fromarray(levels)), channels=3, max_pixels=62)


def test_grey_becomes_colour() -> None:
    levels = noise(28, 28)
    decoded = decode_image(encoded(Image.fromarray(levels)), COLOUR)
    np.testing.assert_array_equal(decoded, np.repeat(levels[None, None].astype(np.float32) / 255, 3, axis=1))


def test_sixteen_bits_keep_their_depth() -> None:
    levels = np.arange(28 * 28, dtype=np.uint16).reshape(28, 28) * 83
    for spec in (GREY, COLOUR):
        decoded = decode_image(encoded(Image.fromarray(levels)), spec)
        np.testing.assert_allclose(decoded[0, -1], levels / 65535, atol=1e-7)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_palette_is_looked_up(bits: int) -> None:
    picture = Image.fromarray(noise(28, 28, 3)).quantize(2**bits)
    decoded = decode_image(encoded(picture, bits=bits), COLOUR)[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(decoded, np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_transparency_is_laid_over_white(kind: str) -> None:
    levels = np.zeros((28, 28, 4), np.uint8)
    levels[:, 14:, 3] = 255
    decoded = decode_image(
        encoded(Image.fromarray(levels), kind, **({"lossless": True} if kind == "WEBP" else {})), GREY
    )
    np.testing.assert_array_equal(decoded[0, 0], np.repeat([[1.0] * 14 + [0.0] * 14], 28, axis=0))


def test_half_transparency_mixes_with_white() -> None:
    levels = np.tile(np.array([100, 100, 100, 128], np.uint8), (28, 28, 1))
    expected = (100 * 128 + 255 * 127) / 255 / 255
    np.testing.assert_allclose(decode_image(encoded(Image.fromarray(levels)), GREY), expected, atol=1 / 255)


def test_a_transparent_palette_colour_is_white() -> None:
    picture = Image.fromarray(np.tile(np.arange(28, dtype=np.uint8) // 14, (28, 1))).convert("P")
    picture.putpalette([0, 0, 0, 0, 0, 0])
    decoded = decode_image(encoded(picture, transparency=1), GREY)
    np.testing.assert_array_equal(decoded[0, 0, 0], [0.0] * 14 + [1.0] * 14)


def rotated(orientation: int) -> bytes:
    """A JPEG of 28 x 28, bright in its top left quarter, to be shown as EXIF says."""
    levels = np.zeros((28, 28, 3), np.uint8)
    levels[:14, :14] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(levels), "JPEG", exif=exif, quality=100)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_a_jpeg_is_turned_as_exif_says(orientation: int, corner: tuple[int, int]) -> None:
    quarters = decode_image(rotated(orientation), GREY).reshape(2, 14, 2, 14).mean(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner


def test_dark_ink_on_a_bright_ground_is_inverted_where_the_bundle_wants_that() -> None:
    levels = np.full((28, 28), 255, np.uint8)
    levels[8:20, 12:16] = 30
    png = encoded(Image.fromarray(levels))
    plain = decode_image(png, GREY)
    np.testing.assert_array_equal(decode_image(png, MNIST), 1 - plain)
    inverted = encoded(Image.fromarray(255 - levels))
    np.testing.assert_allclose(decode_image(inverted, MNIST), 1 - plain, atol=1e-6)


@given(
    size=st.tuples(st.integers(40, 300), st.integers(40, 300)),
    width=st.integers(2, 8),
    ends=st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), min_size=2, max_size=5, unique=True),
)
@settings(max_examples=40)
def test_a_drawn_digit_is_placed_as_mnist_has_it(
    size: tuple[int, int], width: int, ends: Sequence[tuple[float, float]]
) -> None:
    picture = Image.new("L", size, "white")
    ImageDraw.Draw(picture).line([(x * size[0], y * size[1]) for x, y in ends], fill="black", width=width)
    digit = decode_image(encoded(picture), MNIST)[0, 0]
    ink = np.argwhere(digit > 0)
    height, breadth = ink.max(axis=0) - ink.min(axis=0) + 1
    assert max(height, breadth) <= 20
    centre = (digit[:, :, None] * np.indices((28, 28)).transpose(1, 2, 0)).sum(axis=(0, 1)) / digit.sum()
    # A digit 20 high whose mass lies at one end cannot be centred by more than the room that is left.
    touches = (ink.min(axis=0) == 0) | (ink.max(axis=0) == 27)
    assert (touches | (np.abs(centre - 13.5) <= 0.51)).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])  # the first is decoded in a way of its own
@pytest.mark.parametrize("size", [(300, 200), (28, 28)])
@pytest.mark.parametrize("paper", [0, 100, 180, 255])
def test_an_empty_drawing_is_refused(paper: int, size: tuple[int, int], kind: str) -> None:
    blank = Image.new("L", size, paper)
    for invert in ("never", "bright_border"):
        spec = MNIST.model_copy(update={"invert": invert})
        with pytest.raises(InvalidValue, match="expected a digit, got a picture without any ink"):
            decode_image(encoded(blank, kind), spec)
    if size == (28, 28):
        assert decode_image(encoded(blank, kind), GREY).shape == (1, 1, 28, 28)  # a photo may be black


@pytest.mark.parametrize("side", [28, 100])
def test_white_ink_on_a_transparent_ground_is_seen(side: int) -> None:
    levels = np.zeros((side, side, 4), np.uint8)
    levels[side // 4 : side // 2, side // 3 : side // 2, 3] = 255
    dark = encoded(Image.fromarray(levels))
    levels[:, :, :3] = 255
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(levels)), MNIST), decode_image(dark, MNIST))
    levels[:, :, 3] = 0
    with pytest.raises(InvalidValue, match="without any ink"):
        decode_image(encoded(Image.fromarray(levels)), MNIST)
    photo = decode_image(encoded(Image.fromarray(levels)), COLOUR)
    np.testing.assert_allclose(photo, 1)


@pytest.mark.parametrize("paper", [255, 180, 140])
def test_grey_paper_is_no_ink(paper: int) -> None:
    picture = Image.new("L", (300, 200), paper)
    ImageDraw.Draw(picture).line([(150, 40), (150, 160)], fill=0, width=20)
    digit = decode_image(encoded(picture), MNIST)[0, 0]
    assert 0 < (digit > 0).sum() < 120 and digit[:, :9].max() == digit[:, 19:].max() == 0


def test_center_crop_keeps_proportions() -> None:
    levels = np.zeros((20, 60), np.uint8)
    levels[:, 20:40] = 255
    spec = Input(channels=1, height=10, width=10, resize="center_crop")
    assert (decode_image(encoded(Image.fromarray(levels)), spec) == 1).all()
    stretched = decode_image(encoded(Image.fromarray(levels)), spec.model_copy(update={"resize": "stretch"}))[0, 0]
    np.testing.assert_allclose(stretched.mean(), 1 / 3, atol=0.05)


@given(
    levels=st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(np.uint8, (*shape, 3))),
    channels=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(20, 40), st.integers(20, 40)),
    resize=st.sampled_from(["stretch", "center_crop", "digit"]),
    invert=st.sampled_from(["never", "bright_border"]),
)
@settings(max_examples=60)
def test_every_picture_becomes_pixels_between_0_and_1(
    levels: Levels, channels: int, size: tuple[int, int], resize: str, invert: str
) -> None:
    spec = Input.model_validate(
        {"channels": channels, "height": size[0], "width": size[1], "resize": resize, "invert": invert}
    )
    try:
        pixels = decode_image(encoded(Image.fromarray(levels)), spec)
    except InvalidValue:
        assume(resize != "digit")  # which may be without any ink
        raise
    assert pixels.shape == (1, channels, *size) and pixels.dtype == np.float32
    assert np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1


@given(
    levels=st.sampled_from([(20, 20), (20, 20, 3)]).flatmap(lambda shape: arrays(np.uint8, shape)),
    ground=st.integers(0, 255),
    contrast=st.sampled_from([0, 0.1, 0.25, 1]),
    resize=st.sampled_from(["stretch", "digit"]),
    invert=st.sampled_from(["never", "bright_border"]),
)
def test_a_plain_png_gives_what_its_picture_gives_in_any_other_format(
    levels: Levels, ground: int, contrast: float, resize: str, invert: str
) -> None:
    levels[:] = ground + contrast * (levels.astype(float) - ground)
    levels[0], levels[-1], levels[:, 0], levels[:, -1] = ground, ground, ground, ground
    picture, channels = Image.fromarray(levels), 1 if levels.ndim == 2 else 3
    spec = Input.model_validate({"channels": channels, "height": 20, "width": 20, "resize": resize, "invert": invert})
    try:
        plain = plain_image(encoded(picture), spec)
    except InvalidValue:
        assert resize == "digit"
        with pytest.raises(InvalidValue, match="without any ink"):
            decode_image(encoded(picture, "BMP"), spec)
        return
    assert plain is not None and plain.flags.c_contiguous
    np.testing.assert_array_equal(plain, decode_image(encoded(picture, "BMP"), spec))


NOT_AN_IMAGE = {
    "nothing": b"",
    "text": b"a picture of a seven",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "tiff": encoded(Image.new("L", (28, 28)), "TIFF"),
    "a png's signature": b"\x89PNG\r\n\x1a\n",
    "half a png": encoded(Image.fromarray(noise(28, 28)))[:400],
    "half a jpeg": encoded(Image.fromarray(noise(28, 28)), "JPEG")[:300],
    "half a webp": encoded(Image.fromarray(noise(28, 28, 3)), "WEBP")[:100],
}


@pytest.mark.parametrize("data", NOT_AN_IMAGE.values(), ids=NOT_AN_IMAGE)
def test_not_an_image(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^image: "):
        decode_image(data, GREY)


def test_the_refusal_says_what_came() -> None:
    with pytest.raises(ImageError, match=r"expected PNG, JPEG, WEBP, GIF or BMP, got 9 bytes beginning b'%PDF-1.7'"):
        decode_image(b"%PDF-1.7\n", GREY)
    with pytest.raises(ImageError, match=r"got nothing"):
        decode_image(b"", GREY)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds no pixels: decoding it would fail."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize("size", [(5001, 5000), (10_000, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)], ids=str)
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge, match=r"expected at most 25,000,000 pixels, got [0-9]") as caught:
        decode_image(png_header(*size), GREY)
    said = str(caught.value).rpartition(" got ")[2]
    assert said in (f"{size[0]} x {size[1]}", f"{size[0] * size[1]:,}")


def test_the_limit_itself_is_allowed() -> None:
    png = encoded(Image.new("L", (30, 20)))
    assert decode_image(png, GREY, max_pixels=600).shape == (1, 1, 28, 28)
    with pytest.raises(ImageTooLarge, match=r"expected at most 599 pixels, got 30 x 20"):
        decode_image(png, GREY, max_pixels=599)


def with_sums(png: bytes) -> bytes:
    """A PNG whose chunks' check sums are right again, so that a decoder looks inside them."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if at + 12 + length > len(png):
            break
        chunk = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return bytes(out) + png[at:]


EXIF = Image.Exif()
EXIF.update({0x0112: 6, 0x010F: "maker", 0x9286: b"comment"})
PICTURES = [
    encoded(Image.fromarray(noise(9, 7))),
    encoded(Image.fromarray(noise(9, 7, 4))),
    encoded(Image.fromarray(noise(9, 7, 3)).quantize(16), transparency=3),
    encoded(Image.fromarray(noise(9, 7).astype(np.uint16))),
    encoded(Image.fromarray(noise(9, 7, 3)), "JPEG", exif=EXIF),
    encoded(Image.fromarray(noise(9, 7, 4)), "WEBP"),
    encoded(Image.fromarray(noise(9, 7, 3)), "GIF"),
    encoded(Image.fromarray(noise(9, 7, 3)).quantize(16), "BMP"),
]
changes = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6
)


def changed(data: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """`data` with bytes replaced: at each place so many are taken out and others put in."""
    for place, removed, added in edits:
        at = place % (len(data) + 1)
        data = data[:at] + added + data[at + removed :]
    return data


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    data=st.binary(max_size=200)
    | st.builds(changed, st.sampled_from(PICTURES), changes).flatmap(
        lambda data: st.sampled_from([data, with_sums(data)])
    )
)
@settings(max_examples=600)
def test_whatever_bytes_come_only_our_own_errors_do(data: bytes) -> None:
    try:
        pixels = decode_image(data, GREY, max_pixels=1_000_000)
    except EmpirError:
        return
    assert pixels.shape == (1, 1, 28, 28) and np.isfinite(pixels).all()


PALETTE = encoded(Image.fromarray(noise(9, 7, 3)).quantize(16))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (with_sums(PALETTE.replace(b"PLTE", b"qLTE")), "PNG"),
        (PICTURES[4].replace(b"\x01\x0f\x00\x02", b"\x01\x01\x00\x02"), "JPEG"),
    ],
    ids=["no palette", "a height in letters in EXIF"],
)
def test_damage_that_trips_the_decoder(data: bytes, kind: str) -> None:
    """Pillow raises AssertionError and struct.error here."""
    with pytest.raises(ImageError, match=rf"^image: the {kind} is damaged or cut off: "):
        decode_image(data, GREY)
