"""The decoder: small pictures at once, others on threads, as many as there are cores and as the memory has room for."""

import asyncio
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from runtime.errors import ImageError, ImageTooLarge
from runtime.images import decode_image, encode_png
from runtime.manifest import Input
from service.deadline import Deadline
from service.decoder import LIGHT_PIXELS, Decoder
from service.errors import CallerLeft, DeadlineExceeded
from tests.live import HANG_S

SPEC = Input(channels=1, height=8, width=8, resize="stretch")
PLAIN, SMALL, LARGE = (
    encode_png(np.random.default_rng(0).uniform(size=(1, side, side)).astype(np.float32)) for side in (8, 9, 200)
)
HEAVY, HEAVIER = (encode_png(np.zeros((1, 1001, side), np.float32)) for side in (1001, 1501))
HEAVY_PIXELS = 1001 * 1001


def decoder_of(max_pixels: int = 3_000_000, cores: int = 1, deadline_s: float = HANG_S) -> Decoder:
    return Decoder(max_pixels, cores, Deadline(deadline_s))


def test_it_gives_what_the_runtime_gives() -> None:
    for data in (PLAIN, SMALL, LARGE):
        image, waited = asyncio.run(decoder_of().image(data, SPEC))
        assert np.array_equal(image, decode_image(data, SPEC))
        assert waited < HANG_S


def test_what_is_refused_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.decoder.fit_image", None)
    with pytest.raises(ImageTooLarge, match="at most 39,999 pixels, got 200 x 200"):
        asyncio.run(decoder_of(39_999).image(LARGE, SPEC))
    with pytest.raises(ImageError, match="expected PNG"):
        asyncio.run(decoder_of().image(b"hello", SPEC))
    with pytest.raises(ImageTooLarge, match="at most 63 pixels, got 8 x 8"):
        asyncio.run(decoder_of(63).image(PLAIN, SPEC))


class Held:
    """Stands for `fit_image`: on a thread it waits until it is let go, and it notes who is in it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Semaphore(0), threading.Event()
        self.sides: list[int] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, picture: Image.Image, spec: Input) -> str:
        self.sides.append(picture.width)
        self.threads.append(threading.current_thread())
        self.entered.release()
        assert threading.current_thread() is threading.main_thread() or self.opened.wait(HANG_S)
        return f"{picture.width} wide"

    async def begun(self, count: int = 1) -> None:
        """Once so many more have begun."""
        for _ in range(count):
            assert await asyncio.to_thread(self.entered.acquire, timeout=HANG_S)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr("service.decoder.fit_image", held)
    yield held
    held.opened.set()


async def settle() -> None:
    """Turns of the loop in which everything begins that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_those_on_threads_leave_the_event_loop_free_and_are_as_many_as_the_cores(held: Held) -> None:
    async def main() -> None:
        decoder = decoder_of(cores=2)
        large = [asyncio.create_task(decoder.image(LARGE, SPEC)) for _ in range(3)]
        await held.begun(2)
        await decoder.image(SMALL, SPEC)  # the loop is free
        assert held.threads[2] is threading.current_thread() not in held.threads[:2]
        assert held.sides == [200, 200, 9]  # the third large one waits
        held.opened.set()
        found = await asyncio.gather(*large)
        assert [image for image, _ in found] == ["200 wide"] * 3
        assert held.sides == [200, 200, 9, 200]
        assert found[2][1] > max(found[0][1], found[1][1])  # what it waited is told

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_heavy_ones_wait_for_memory_and_light_ones_pass_them(held: Held) -> None:
    assert HEAVY_PIXELS > LIGHT_PIXELS

    async def main() -> None:
        decoder = decoder_of(max_pixels=3 * HEAVY_PIXELS - 1, cores=4)
        heavy = [asyncio.create_task(decoder.image(HEAVY, SPEC)) for _ in range(4)]
        await held.begun(2)
        light = asyncio.create_task(decoder.image(LARGE, SPEC))
        await held.begun()
        await settle()
        assert held.sides == [1001, 1001, 200]
        held.opened.set()
        await asyncio.gather(light, *heavy)
        assert held.sides == [1001, 1001, 200, 1001, 1001]

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_the_heaviest_is_not_passed_by_those_that_would_fit(held: Held) -> None:
    async def main() -> None:
        decoder = decoder_of(max_pixels=2 * HEAVY_PIXELS, cores=4)
        first = asyncio.create_task(decoder.image(HEAVY, SPEC))
        await held.begun()
        others = [asyncio.create_task(decoder.image(data, SPEC)) for data in (HEAVIER, HEAVY)]
        await settle()
        assert held.sides == [1001]
        held.opened.set()
        await asyncio.gather(first, *others)
        assert held.sides == [1001, 1501, 1001]

    asyncio.run(asyncio.wait_for(main(), HANG_S))


@pytest.mark.parametrize("how", ["hangs up", "is cancelled"])
def test_nothing_is_decoded_for_a_caller_that_has_left(held: Held, how: str) -> None:
    async def main() -> None:
        decoder, gone = decoder_of(), False
        first = asyncio.create_task(decoder.image(LARGE, SPEC))
        await held.begun()
        left = asyncio.create_task(decoder.image(HEAVY, SPEC, lambda: gone))
        stays = asyncio.create_task(decoder.image(LARGE, SPEC))
        await settle()
        gone = how == "hangs up" or left.cancel()
        held.opened.set()
        with pytest.raises(CallerLeft if how == "hangs up" else asyncio.CancelledError):
            await left
        await asyncio.gather(first, stays)
        assert held.sides == [200, 200]
        with pytest.raises(CallerLeft):
            await decoder.image(PLAIN, SPEC, lambda: True)

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_a_caller_that_leaves_while_it_is_decoded_for_keeps_the_core_until_the_thread_is_done(held: Held) -> None:
    async def main() -> None:
        decoder = decoder_of()
        first = asyncio.create_task(decoder.image(LARGE, SPEC))
        await held.begun()
        first.cancel()
        second = asyncio.create_task(decoder.image(LARGE, SPEC))
        await settle()
        assert len(held.sides) == 1
        held.opened.set()
        assert (await second)[0] == "200 wide"

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_decoding_and_the_wait_for_it_count_against_the_deadline(held: Held) -> None:
    async def main() -> None:
        decoder = decoder_of(deadline_s=0.05)
        both = [asyncio.create_task(decoder.image(LARGE, SPEC)) for _ in range(2)]
        for each in both:  # the one that is decoded, and the one that waits
            with pytest.raises(DeadlineExceeded, match="no answer within 50 ms"):
                await each
        held.opened.set()
        with pytest.raises(DeadlineExceeded):
            await decoder.image(PLAIN, SPEC, since=time.perf_counter() - 1)
        await settle()
        assert held.sides == [200]

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_who_is_too_late_when_its_turn_comes_is_not_decoded_for(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deadline, "_look_at", lambda deadline, due: None)  # as if no timer had its turn yet

    async def main() -> None:
        decoder = decoder_of(deadline_s=0.1)
        both = [asyncio.create_task(decoder.image(LARGE, SPEC)) for _ in range(2)]
        await held.begun()
        held.opened.set()
        time.sleep(0.15)
        assert [type(each) for each in await asyncio.gather(*both, return_exceptions=True)] == [DeadlineExceeded] * 2
        assert held.sides == [200]

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_a_damaged_picture_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        decoder = decoder_of()
        with pytest.raises(ImageError, match="damaged"):
            await decoder.image(LARGE[: len(LARGE) // 2], SPEC)
        assert (await decoder.image(LARGE, SPEC))[0].shape == (1, 1, 8, 8)

    asyncio.run(asyncio.wait_for(main(), HANG_S))
