"""Plain PNGs: 8-bit grey or RGB, not interlaced, nothing in them but pixels. What digits and small photos come as.

Pillow looks every picture over with its general reader; for a digit that takes several times as long as its pixels do.
Here only the frame is read by ourselves: the pixels are Pillow's own decoder's.
"""

from struct import Struct
from zlib import crc32

from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_HEADER = Struct(">II5BI")
_CHUNK = Struct(">I4s")
_BODY = len(_SIGNATURE) + _HEADER.size
_MODES = {1: ("L", 0), 3: ("RGB", 2)}
"""Pillow's mode, and PNG's colour type, by the number of channels."""


def plain_levels(data: bytes, channels: int, height: int, width: int) -> bytes | None:
    """The levels [height, width, channels], uint8 and row-major, of a plain PNG of just this size.

    None for anything else, also for what is damaged: whoever reads pictures of all kinds can say what is wrong with it.
    (PNG: ISO/IEC 15948, sections 5 and 11.)
    """
    if channels not in _MODES or len(data) <= _BODY or not data.startswith(_SIGNATURE):
        return None
    mode, colour = _MODES[channels]
    *header, checksum = _HEADER.unpack_from(data, len(_SIGNATURE))
    if header != [width, height, 8, colour, 0, 0, 0] or crc32(data[12 : _BODY - 4]) != checksum:
        return None
    compressed = _pixel_data(data)
    if compressed is None:
        return None
    try:
        return Image.frombytes(mode, (width, height), compressed, "zip", mode, 0).tobytes()
    except ValueError:
        return None


def _pixel_data(data: bytes) -> bytes | None:
    """What the IDAT chunks hold, if there are no others but the one that ends the file, and every checksum is right."""
    parts: list[bytes] = []
    at, end = _BODY, len(data)
    while at + 12 <= end:
        length, kind = _CHUNK.unpack_from(data, at)
        stop = at + 8 + length
        if crc32(data[at + 4 : stop]) != int.from_bytes(data[stop : stop + 4]):
            return None
        if kind == b"IEND":
            return b"".join(parts)
        if kind != b"IDAT":
            return None
        parts.append(data[at + 8 : stop])
        at = stop + 4
    return None
