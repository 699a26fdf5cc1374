"""Servers and pictures for the tests of the service."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from service.catalog import Catalog
from service.probe_process import ProbeProcess
from service.settings import Settings
from tests.live import Live, bundle_catalog, live
from tests.toy_bundle import ToyBundle

Start = Callable[..., Live]


@pytest.fixture(scope="session")
def server(toy: ToyBundle) -> Iterator[Live]:
    """The toy bundle, served with the default settings. Tests share it, so they count differences."""
    with live(Settings(default="toy"), bundle_catalog(toy.folder)) as running:
        yield running


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server of this test's own: `start(catalog, **settings)`; its probe process starts with the first probe."""

    async def later(self: ProbeProcess) -> None:
        pass

    monkeypatch.setattr(ProbeProcess, "start", later)
    with ExitStack() as servers:

        def begin(catalog: Catalog, **settings: object) -> Live:
            return servers.enter_context(live(Settings(default="toy", **settings), catalog))  # type: ignore[arg-type]

        yield begin
