"""Servers and pictures for the tests of the service."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from runtime.images import encode_png
from service.catalog import Catalog
from service.probe_process import ProbeProcess
from service.settings import Settings
from tests.live import Live, Start, live
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import bundle_catalog


@pytest.fixture(scope="session")
def server(toy: ToyBundle) -> Iterator[Live]:
    """The toy bundle, served with the default settings. Tests share it, so they count differences."""
    with live(Settings(default="toy"), bundle_catalog(toy.folder)) as running:
        yield running


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server of the test's own: `start(catalog, **settings)`. Its probe process waits for the first probe."""

    async def later(self: ProbeProcess) -> None:
        pass

    monkeypatch.setattr(ProbeProcess, "start", later)
    with ExitStack() as servers:

        def begin(catalog: Catalog, **settings: Any) -> Live:
            return servers.enter_context(live(Settings(default="toy", **settings), catalog))

        yield begin


@pytest.fixture(scope="session")
def picture(toy: ToyBundle) -> bytes:
    """An image of the toy bundle as PNG."""
    return encode_png(toy.images[0])
