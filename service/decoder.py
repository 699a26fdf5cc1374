"""Decoding pictures without stopping the event loop, or filling the memory."""

import asyncio

from runtime.images import fit_image, open_picture, plain_image
from runtime.manifest import Input
from runtime.member import Images

SMALL_PIXELS = 128 * 128
"""Up to here decoding takes less time than a hop to a thread."""


class Decoder:
    """Small pictures are decoded at once, large ones in a thread, one at a time: 25 megapixels take half a gigabyte."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._one_large = asyncio.Lock()

    async def image(self, data: bytes, spec: Input) -> Images:
        """Encoded picture to float32 [1, C, H, W]. Raises ImageError or ImageTooLarge."""
        if len(data) <= SMALL_PIXELS and spec.width * spec.height <= min(SMALL_PIXELS, self._max_pixels):
            plain = plain_image(data, spec)
            if plain is not None:
                return plain
        picture = open_picture(data, self._max_pixels)
        if picture.width * picture.height <= SMALL_PIXELS and len(data) <= SMALL_PIXELS:
            return fit_image(picture, spec)
        async with self._one_large:
            return await asyncio.to_thread(fit_image, picture, spec)
