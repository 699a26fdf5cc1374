"""The decoder: small pictures at once, large ones beside the event loop and one at a time."""

import asyncio
import threading

import numpy as np
import pytest

from runtime.errors import ImageError, ImageTooLarge
from runtime.images import decode_image, encode_png
from runtime.manifest import Input
from service.decoder import Decoder
from tests.live import HANG_S

SPEC = Input(channels=1, height=8, width=8, resize="stretch")
PLAIN, SMALL, LARGE = (
    encode_png(np.random.default_rng(0).uniform(size=(1, side, side)).astype(np.float32)) for side in (8, 9, 200)
)


def test_it_gives_what_the_runtime_gives() -> None:
    for data in (PLAIN, SMALL, LARGE):
        assert np.array_equal(asyncio.run(Decoder(40_000).image(data, SPEC)), decode_image(data, SPEC))


def test_what_is_refused_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.decoder.fit_image", None)
    with pytest.raises(ImageTooLarge, match="at most 39,999 pixels, got 200 x 200"):
        asyncio.run(Decoder(39_999).image(LARGE, SPEC))
    with pytest.raises(ImageError, match="expected PNG"):
        asyncio.run(Decoder(40_000).image(b"hello", SPEC))
    with pytest.raises(ImageTooLarge, match="at most 63 pixels, got 8 x 8"):
        asyncio.run(Decoder(63).image(PLAIN, SPEC))


def test_large_pictures_leave_the_event_loop_free_and_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, opened = threading.Semaphore(0), threading.Event()
    threads: list[threading.Thread] = []

    def fit(picture: object, spec: Input) -> str:
        threads.append(threading.current_thread())
        entered.release()
        assert threading.current_thread() is threading.main_thread() or opened.wait(HANG_S)
        return "fitted"

    monkeypatch.setattr("service.decoder.fit_image", fit)

    async def main() -> None:
        decoder = Decoder(40_000)
        large = [asyncio.create_task(decoder.image(LARGE, SPEC)) for _ in range(2)]
        assert await asyncio.to_thread(entered.acquire, timeout=HANG_S)
        await decoder.image(SMALL, SPEC)  # the loop is free
        assert threads[1] is threading.current_thread() is not threads[0]
        assert len(threads) == 2  # the second large one waits
        opened.set()
        await asyncio.gather(*large)
        assert len(threads) == 3

    asyncio.run(asyncio.wait_for(main(), HANG_S))
