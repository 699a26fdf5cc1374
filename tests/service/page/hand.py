"""What somebody at the page has at hand: drawings, files, and a look at verdict and trouble."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests.browser import Strokes, Visit

Window = Callable[..., Visit]
"""`window(server, **options)`: the page of a server, ready."""
DIGITS: dict[str, Strokes] = {
    "1": [[(0.5, 0.2), (0.48, 0.8)]],
    "2": [[(0.3, 0.35), (0.35, 0.22), (0.5, 0.18), (0.65, 0.25), (0.66, 0.4), (0.3, 0.8), (0.72, 0.8)]],
    "3": [
        [(0.3, 0.22), (0.5, 0.17), (0.66, 0.25), (0.64, 0.4), (0.48, 0.47)],
        [(0.48, 0.47), (0.68, 0.55), (0.68, 0.72), (0.5, 0.82), (0.3, 0.76)],
    ],
    "4": [[(0.35, 0.2), (0.3, 0.52), (0.7, 0.52)], [(0.64, 0.2), (0.6, 0.82)]],
    "7": [[(0.27, 0.22), (0.73, 0.22), (0.45, 0.82)]],
}


def verdict(page: Page, label: str) -> None:
    expect(page.locator("#label")).to_have_text(label)
    expect(page.locator("#status")).to_contain_text(f"Verdict {label}")


def trouble(page: Page, words: str) -> None:
    expect(page.get_by_role("alert")).to_contain_text(words)


def png(width: int, height: int, mode: str = "L") -> bytes:
    levels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def payload(name: str, kind: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}
