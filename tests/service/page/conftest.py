"""The page of a running server in a real browser."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from service.catalog import Catalog
from service.settings import Settings
from tests.browser import Visit, chromium, visit
from tests.live import Live, live
from tests.programs import ROOT
from tests.toy_bundle import ToyBundle


@pytest.fixture(scope="module")  # Playwright's event loop runs in this thread: after it other tests run theirs
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def bundles(toy: ToyBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, which reads digits and has a report, and the toy."""
    root = tmp_path_factory.mktemp("served")
    (root / "mnist-empir").symlink_to(ROOT / "bundles" / "mnist-empir")
    (root / "toy").symlink_to(toy.folder)
    return root


@pytest.fixture(scope="session")
def both(bundles: Path) -> Iterator[Live]:
    settings = Settings(bundles=bundles, default="mnist-empir")
    with live(settings, Catalog.load(settings)) as server:
        yield server


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """`window(server, **options)`: the page of a server, ready. What it did wrong fails the test at its end."""
    with ExitStack() as stack:

        def show(server: Live, **options: Any) -> Visit:
            opened: AbstractContextManager[Visit] = visit(browser, server.port, **options)
            seen = stack.enter_context(opened)
            seen.open()
            return seen

        yield show
