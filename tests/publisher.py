"""A publisher of files, for tests: a few bytes where the network would be."""

from collections.abc import Callable
from pathlib import Path

import pooch
import pytest

Files = dict[str, bytes]
"""What a publisher ships, by name."""


def put(files: Files, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def install_network(monkeypatch: pytest.MonkeyPatch, serve: Callable[[str], bytes]) -> list[str]:
    """Puts a function from URL to content in the network's place; the URLs asked for are added to the list.

    A content that ends with CUT is interrupted half way.
    """
    asked: list[str] = []

    def download(self: pooch.HTTPDownloader, url: str, output_file: str, *args: object, **kwargs: object) -> None:
        asked.append(url)
        content = serve(url)
        with Path(output_file).open("wb") as file:
            file.write(content[: len(content) // 2])
            if content.endswith(b"CUT"):
                raise ConnectionResetError("the line went dead")
            file.write(content[len(content) // 2 :])

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)
    return asked
