"""export/data/decoding.py: the pixels that serving has, here and in processes; damaged files; processes that die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from export.data.decoding import AHEAD, CHUNK, FEW, Decoded, Decoder, decode_files
from export.data.examples import DataError
from runtime.images import decode_image
from runtime.manifest import Input
from tests.pictures import SPEC, write_picture

ROOT = Path(__file__).parents[3]
MANY = FEW + CHUNK + 1


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """More than are decoded here, the tenth damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [write_picture(folder / f"{index:02}.jpg", index, width=9 + index) for index in range(MANY)]
    paths[9].write_bytes(paths[9].read_bytes()[:-100])
    return [str(path) for path in paths]


def decoding_processes() -> list[multiprocessing.process.BaseProcess]:
    """The processes that this one has started, but for the probe process of a server that other tests share."""
    return [process for process in multiprocessing.active_children() if process.name != "empir-probe"]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    """With one process."""
    decoder = Decoder(SPEC, workers=1)
    yield decoder
    decoder.close()
    assert decoding_processes() == []


def end_of(processes: list[multiprocessing.process.BaseProcess]) -> None:
    """By their sentinels: the pool's own thread may be about to note the exit code when join returns."""
    for process in processes:
        assert wait([process.sentinel], 20)


def assert_same(found: Decoded, expected: Decoded) -> None:
    assert found.unreadable == expected.unreadable
    np.testing.assert_array_equal(found.images, expected.images)


@pytest.mark.parametrize("resize", ["stretch", "center_crop"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.png", "P"), ("a.jpg", "CMYK"), ("a.bmp", "L")])
def test_pixels_are_those_of_serving_to_the_nearest_level(
    name: str, mode: str, channels: int, resize: str, tmp_path: Path
) -> None:
    path = write_picture(tmp_path / name, 0, mode=mode)
    spec = Input.model_validate({"channels": channels, "height": 8, "width": 6, "resize": resize})
    served = decode_image(path.read_bytes(), spec)
    decoded = decode_files([str(path)], spec)
    assert decoded.images.dtype == np.uint8 and decoded.images.shape == served.shape
    assert np.abs(decoded.images / np.float32(255) - served).max() <= 0.5 / 255 + 1e-6


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 0, width=6, height=8)
    expected = np.asarray(Image.open(path)).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_files([str(path)], SPEC).images, expected[None])


def test_ink_is_inverted_as_serving_does_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (6, 8), 250).save(path)
    spec = Input(channels=1, height=8, width=6, resize="stretch", invert="bright_border")
    assert (decode_files([str(path)], spec).images == 5).all()


def test_unreadable_files_are_told_by_path_and_the_others_stay_in_order(tmp_path: Path) -> None:
    good = [str(write_picture(tmp_path / f"{name}.png", seed)) for seed, name in enumerate("ac")]
    (tmp_path / "b.png").write_bytes(b"not a picture")
    bad = [str(tmp_path / "b.png"), str(tmp_path / "gone.png")]
    decoded = decode_files([good[1], *bad, good[0]], SPEC)
    assert list(decoded.unreadable) == bad
    assert "13 bytes beginning b'not a pi'" in decoded.unreadable[bad[0]]
    assert decoded.unreadable[bad[1]] == "No such file or directory"
    np.testing.assert_array_equal(decoded.images, decode_files([good[1], good[0]], SPEC).images)


def test_warnings_about_metadata_are_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_picture(tmp_path / "a.png", 0)

    def grumble(data: bytes, *rest: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        warnings.warn("Corrupt EXIF data", stacklevel=1)
        return decode_image(data, SPEC)

    monkeypatch.setattr("export.data.decoding.decode_image", grumble)
    assert len(decode_files([str(path)], SPEC).images) == 1


def test_processes_give_what_this_one_gives_in_order(pictures: list[str], decoder: Decoder) -> None:
    batches = [pictures, pictures[:3][::-1], [], pictures[8:11]]
    for found, paths in zip(decoder.decode(batches), batches, strict=True):
        assert_same(found, decode_files(paths, SPEC))
        assert len(found.images) + len(found.unreadable) == len(paths)
    assert len(decoding_processes()) == 1


def test_few_files_start_no_process(pictures: list[str], decoder: Decoder) -> None:
    (found,) = decoder.decode([pictures[:FEW]])
    assert_same(found, decode_files(pictures[:FEW], SPEC))
    assert decoding_processes() == []


def test_no_more_is_read_ahead_than_two_batches(pictures: list[str], decoder: Decoder) -> None:
    begun: list[int] = []

    def order() -> Iterator[list[str]]:
        for index in range(10):
            begun.append(index)
            yield pictures[index : index + 1]

    for index, _ in enumerate(decoder.decode(order())):
        assert len(begun) == min(index + 1 + AHEAD, 10)


def test_a_process_that_dies_is_told_and_replaced(pictures: list[str], decoder: Decoder) -> None:
    next(decoder.decode([pictures]))
    (process,) = decoding_processes()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    end_of([process])
    with pytest.raises(DataError, match=r"^a process that decodes images died"):
        list(decoder.decode([pictures] * 5))
    assert len(next(decoder.decode([pictures])).images) == MANY - 1


def test_processes_end_with_the_decoder(pictures: list[str]) -> None:
    decoder = Decoder(SPEC, workers=1)
    next(decoder.decode([pictures]))
    processes = decoding_processes()
    del decoder
    assert len(processes) == 1
    end_of(processes)


def test_processes_end_with_one_that_is_killed(pictures: list[str]) -> None:
    program = f"""
import multiprocessing, time
from export.data.decoding import Decoder
from tests.pictures import SPEC
decoder = Decoder(SPEC, workers=1)
next(decoder.decode([{pictures!r}]))
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 1 and psutil.wait_procs(children, timeout=20)[1] == []
